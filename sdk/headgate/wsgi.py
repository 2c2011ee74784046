"""Registration of an instance while gunicorn serves a WSGI application.

    # gunicorn.conf.py
    from headgate import wsgi

    bind = "0.0.0.0:9000"
    post_worker_init, worker_exit = wsgi.gunicorn("orders")

Each worker registers after the fork; all of them hold one instance together. A worker that gets a signal to stop keeps
serving until it has left the instance: the last one drains it.

For servers with one process, such as waitress, put `with headgate.sync.register("orders", port=9000, background=True):`
around the call that serves.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Unpack

from headgate.errors import HeadgateError, Misconfigured
from headgate.helpers import Options, definition_of, show_log
from headgate.models import ServiceDefinition

if TYPE_CHECKING:
    from headgate.sync import Registration

# This module is imported before gunicorn forks, and gRPC does not survive a fork: so gRPC is imported in the worker.

__all__ = ["gunicorn"]

log = logging.getLogger("headgate")

SUCCESSORS_WITHIN = 10.0
"""Seconds that workers which a reload replaces wait for their successors; with `drain`, less than graceful_timeout."""
_LOOK = 0.1
"""Seconds between two looks at the state of others."""
_COUNT = struct.Struct("<Q")
_shared = mmap.mmap(-1, 2 * _COUNT.size)
"""Shared by the master and all its workers: the number of configurations read so far, which only the master writes, and
the latest of them with a registered worker."""

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

    def post_worker_init(worker: Any) -> None:
        show_log()
        try:
            held[os.getpid()] = _Worker(_enter(worker, service, options), generation)
        except HeadgateError as error:
            log.error("not registered: %s", error)

    def worker_exit(server: Any, worker: Any) -> None:
        if (mine := held.pop(os.getpid(), None)) is not None:
            mine.leave()

    return post_worker_init, worker_exit


def _latest() -> int:
    return int(_COUNT.unpack_from(_shared, 0)[0])


def _registered() -> int:
    return int(_COUNT.unpack_from(_shared, _COUNT.size)[0])


def _enter(worker: Any, service: ServiceDefinition | str, options: Options) -> Registration:
    from headgate import sync

    chosen: dict[str, Any] = {**options}
    host = chosen.get("host") or os.environ.get("HEADGATE_HOST", "")
    if chosen.get("port") is None and not os.environ.get("HEADGATE_PORT") and not host.startswith("unix:"):
        chosen["port"] = _port_of(worker.sockets)
    registration = sync.register(definition_of(service), **chosen, background=True, handle_sigterm=False)
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

    def __init__(self, registration: Registration, generation: int) -> None:
        """In the worker's main thread, with gunicorn's handlers in place."""
        self._registration = registration
        self._generation = generation
        self._at_once = threading.Event()
        self._lock = threading.Lock()
        self._asked = self._left = False
        self._before = signal.getsignal(signal.SIGTERM)
        # A handler may interrupt the main thread anywhere, so it only writes to a pipe.
        self._read, self._write = os.pipe()
        threading.Thread(target=self._wait_for_signal, name="headgate: drain", daemon=True).start()
        threading.Thread(target=self._announce, name="headgate: announce", daemon=True).start()
        if callable(self._before):
            signal.signal(signal.SIGTERM, self._on_signal)
            # As in gunicorn: system calls of requests are restarted after an interruption.
            signal.siginterrupt(signal.SIGTERM, False)

    def leave(self) -> None:
        """Leave the instance, once. If another thread is leaving, wait for it, and end its wait for requests."""
        self._at_once.set()
        if self._asked and not self._left:
            self._registration.hurry()
        with self._lock:
            self._leave_once()

    def _leave_once(self) -> None:
        if not self._left:
            self._registration.__exit__(None, None, None)
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
        """Tell workers that this one replaces when it is registered."""
        while not self._at_once.wait(_LOOK):
            if self._registration.registered:
                _COUNT.pack_into(_shared, _COUNT.size, max(_registered(), self._generation))
                return

    def _wait_for_successors(self) -> None:
        """After a reload, keep the instance until a worker of the new configuration holds it, too."""
        until = time.monotonic() + SUCCESSORS_WITHIN
        while _registered() <= self._generation < _latest() and time.monotonic() < until:
            if self._at_once.wait(_LOOK):
                return
