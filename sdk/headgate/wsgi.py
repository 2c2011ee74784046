"""Registration of an instance while gunicorn serves a WSGI application.

    # gunicorn.conf.py
    from headgate import wsgi

    bind = "0.0.0.0:9000"
    post_worker_init, worker_exit = wsgi.gunicorn("orders")

Each worker registers after the fork; all of them hold one instance together. A worker that gets a signal to stop keeps
serving until it has left the instance: the last one drains it. A worker that `max_requests` ends keeps its lease: its
successor ends it, once it holds the instance itself.

For servers with one process, such as waitress, put `with headgate.sync.register("orders", port=9000, background=True):`
around the call that serves.
"""

from __future__ import annotations

import atexit
import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any, Unpack

from headgate.errors import HeadgateError, Misconfigured
from headgate.helpers import Options, definition_of, show_log
from headgate.models import ServiceDefinition
from headgate.shares import Shares

if TYPE_CHECKING:
    from headgate.sync import Registration

# This module is imported before gunicorn forks, and gRPC does not survive a fork: so gRPC is imported in the worker.

__all__ = ["gunicorn"]

log = logging.getLogger("headgate")

SUCCESSORS_WITHIN = 10.0
"""Seconds that workers which a reload replaces wait for their successors; with `drain`, less than graceful_timeout."""
REGISTERED_WITHIN = 5.0
"""Seconds that a worker which `max_requests` ends waits for its registration under way. None after an error."""
_LOOK = 0.1
"""Seconds between two looks at the state of others."""
_COUNT = struct.Struct("<Q")
_shared = mmap.mmap(-1, 2 * _COUNT.size)
"""Shared by the master and all its workers: the number of configurations read so far, which only the master writes, and
the latest of them with a registered worker."""
_shares: dict[str, Shares] = {}
"""The leases of the workers by service. They outlive a reload."""
_settings: dict[str, tuple[ServiceDefinition, Options]] = {}
"""The last arguments of `gunicorn` by service."""

PostWorkerInit = Callable[[Any], None]
WorkerExit = Callable[[Any, Any], None]


def gunicorn(
    service: ServiceDefinition | str, **options: Unpack[Options]
) -> tuple[PostWorkerInit, WorkerExit]:
    """Two hooks of gunicorn's configuration: `post_worker_init` and `worker_exit`. Without `preload_app`.

    service: its definition or its name. A missing service is created with the default settings.
    options: as for `headgate.register`. The port is that of `bind` unless given. The start never waits: with `wait`,
        the outcome is logged. `drain` must be shorter than gunicorn's `graceful_timeout` (30 s).
    """
    held: dict[int, _Worker] = {}
    # The master reads its configuration again at each reload (SIGHUP), and replaces all workers.
    generation = _latest() + 1
    _COUNT.pack_into(_shared, 0, generation)
    definition = definition_of(service)
    name = definition.service_name or ""
    shares = _shares.setdefault(name, Shares())
    _settings[name] = definition, options
    atexit.unregister(_end_rest)
    atexit.register(_end_rest)

    def post_worker_init(worker: Any) -> None:
        atexit.unregister(_end_rest)
        show_log()
        try:
            registration = _enter(worker, definition, options, shares)
            held[os.getpid()] = _Worker(worker, registration, generation, shares)
        except HeadgateError as error:
            log.error("not registered: %s", error)

    def worker_exit(server: Any, worker: Any) -> None:
        if (mine := held.pop(os.getpid(), None)) is not None:
            mine.end()

    return post_worker_init, worker_exit


def _latest() -> int:
    return int(_COUNT.unpack_from(_shared, 0)[0])


def _registered() -> int:
    return int(_COUNT.unpack_from(_shared, _COUNT.size)[0])


def _end_rest() -> None:
    """In the master, when it stops: end the leases of workers that had no successor or were killed."""
    for name, shares in _shares.items():
        if (rest := shares.rest()) and (instance_id := shares.instance_id):
            show_log()
            try:
                _end(name, instance_id, rest)
            except (HeadgateError, RuntimeError) as error:
                # Some versions of Python start no threads in an interpreter that ends.
                log.warning("%s; the instance leaves when its lease ends", error)


def _end(name: str, instance_id: str, leases: Iterable[int]) -> None:
    from headgate import sync

    definition, options = _settings[name]
    chosen: dict[str, Any] = {**options, "instance_id": instance_id, "port": options.get("port") or 1}
    sync.register(definition, **chosen).end(leases)


def _enter(worker: Any, service: ServiceDefinition, options: Options, shares: Shares) -> Registration:
    from headgate import sync

    def on_change(registered: bool) -> None:
        if registered and (lease := registration.lease) is not None:
            shares.hold(worker.age, lease, registration.instance.instance_id)
        if (told := options.get("on_change")) is not None:
            told(registered)

    chosen: dict[str, Any] = {**options}
    host = chosen.get("host") or os.environ.get("HEADGATE_HOST", "")
    if chosen.get("port") is None and not os.environ.get("HEADGATE_PORT") and not host.startswith("unix:"):
        chosen["port"] = _port_of(worker.sockets)
    chosen |= {"on_change": on_change, "background": True, "handle_sigterm": False}
    registration = sync.register(service, **chosen)
    registration.__enter__()
    return registration


def _port_of(sockets: Any) -> int:
    for listener in sockets:
        address = listener.getsockname()
        if isinstance(address, tuple):
            return int(address[1])
    raise Misconfigured(
        "gunicorn listens at no TCP port: say which one leads to it, port=9000; or host='unix:/path' where data planes "
        "share its socket"
    )


class _Worker:
    """One worker's part of the instance. Wraps gunicorn's handler of SIGTERM, which ends the worker."""

    def __init__(self, worker: Any, registration: Registration, generation: int, shares: Shares) -> None:
        """In the worker's main thread, with gunicorn's handlers in place."""
        self._worker = worker
        self._registration = registration
        self._generation = generation
        self._shares = shares
        self._at_once = threading.Event()
        self._lock = threading.Lock()
        self._asked = self._left = self._bequeathed = False
        self._before = signal.getsignal(signal.SIGTERM)
        # A handler may interrupt the main thread anywhere, so it only writes to a pipe.
        self._read, self._write = os.pipe()
        threading.Thread(target=self._wait_for_signal, name="headgate: drain", daemon=True).start()
        threading.Thread(target=self._announce, name="headgate: announce", daemon=True).start()
        if callable(self._before):
            signal.signal(signal.SIGTERM, self._on_signal)
            # As in gunicorn: system calls of requests are restarted after an interruption.
            signal.siginterrupt(signal.SIGTERM, False)
        # The signal may have come while the worker loaded the application.
        self._asked = self._asked or not worker.alive

    def leave(self) -> None:
        """Leave the instance, once. If another thread is leaving, wait for it, and end its wait for requests."""
        self._at_once.set()
        if self._asked and not self._left:
            self._registration.hurry()
        with self._lock:
            self._leave_once()

    def end(self) -> None:
        """The worker no longer serves. If gunicorn replaces it, its successor inherits the lease."""
        if self._recycled:
            self._await_registration()
        if not self._recycled:
            self.leave()
            return
        self._bequeathed = True
        self._at_once.set()
        with self._lock:
            if self._left:
                return  # the wait for successors had just ended
            if (lease := self._registration.lease) is not None and self._registration.registered:
                self._shares.leave(self._worker.age, lease)
                self._registration.stay()
            # Not registered yet: the leases of predecessors keep the instance for the successor.
            self._registration.__exit__(None, None, None)
            self._left = True

    def _await_registration(self) -> None:
        """Workers that were recycled faster than they register would let the lease of the last registered one end."""
        until = time.monotonic() + REGISTERED_WITHIN
        while self._registering and not self._asked and time.monotonic() < until:
            time.sleep(_LOOK)

    @property
    def _registering(self) -> bool:
        try:
            return not self._registration.registered and self._registration.last_error is None
        except HeadgateError:
            return True  # not begun

    @property
    def _recycled(self) -> bool:
        """Whether `max_requests` ends it, and a successor begins: not when gunicorn stops, but also during a reload."""
        worker = self._worker
        succeeded = not self._asked or self._awaits_successors
        return succeeded and worker.nr >= worker.max_requests and worker.ppid == os.getppid()

    @property
    def _awaits_successors(self) -> bool:
        """Whether a reload replaces this worker, and no worker of the new configuration is registered yet."""
        return _registered() <= self._generation < _latest()

    def _leave_once(self) -> None:
        if not self._left and not self._bequeathed:
            # After a reload they may be of a successor that was recycled at once: the next one ends them.
            dead = {} if self._generation < _registered() else self._shares.dead()
            self._registration.inherit(dead.values())
            self._registration.__exit__(None, None, None)
            self._shares.clear([*dead, self._worker.age])
            self._left = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            # The drain is done, or this is a second request to stop.
            assert callable(self._before)
            self._before(number, frame)
        else:
            self._asked = True
            os.write(self._write, b".")

    def _wait_for_signal(self) -> None:
        os.read(self._read, 1)
        self._wait_for_successors()
        try:
            with self._lock:
                self._leave_once()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _announce(self) -> None:
        """When this worker is registered, tell the workers that it replaces, and end the leases of dead ones."""
        while not self._at_once.wait(_LOOK):
            if self._registration.registered:
                _COUNT.pack_into(_shared, _COUNT.size, max(_registered(), self._generation))
                self._end_dead()
                return

    def _end_dead(self) -> None:
        try:
            for number, lease in self._shares.dead().items():
                with self._lock:  # for one call at a time: a worker that ends waits for it
                    if self._left or self._at_once.is_set():
                        return
                    self._registration.end([lease])
                    self._shares.clear([number])
        except HeadgateError as error:
            log.warning("%s; the leases of workers that have ended are not ended yet", error)

    def _wait_for_successors(self) -> None:
        """After a reload, keep the instance until a worker of the new configuration holds it, too."""
        until = time.monotonic() + SUCCESSORS_WITHIN
        while self._awaits_successors and time.monotonic() < until:
            if self._at_once.wait(_LOOK):
                return
