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
import os
import signal
import threading
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

    def post_worker_init(worker: Any) -> None:
        show_log()
        try:
            held[os.getpid()] = _Worker(_enter(worker, service, options))
        except HeadgateError as error:
            log.error("not registered: %s", error)

    def worker_exit(server: Any, worker: Any) -> None:
        if (mine := held.pop(os.getpid(), None)) is not None:
            mine.leave()

    return post_worker_init, worker_exit


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

    def __init__(self, registration: Registration) -> None:
        """In the worker's main thread, with gunicorn's handlers in place."""
        self._registration = registration
        self._lock = threading.Lock()
        self._asked = self._left = False
        self._before = signal.getsignal(signal.SIGTERM)
        # A handler may interrupt the main thread anywhere, so it only writes to a pipe.
        self._read, self._write = os.pipe()
        threading.Thread(target=self._wait_for_signal, name="headgate: drain", daemon=True).start()
        if callable(self._before):
            signal.signal(signal.SIGTERM, self._on_signal)
            # As in gunicorn: system calls of requests are restarted after an interruption.
            signal.siginterrupt(signal.SIGTERM, False)

    def leave(self) -> None:
        """Leave the instance, once. If another thread is leaving, wait for it, and end its wait for requests."""
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
        try:
            with self._lock:
                self._leave_once()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
