"""One event loop in a background thread, for programs without one: gRPC requires one for each process."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Coroutine
from concurrent import futures
from types import TracebackType
from typing import Any, Self, TypeVar

from headgate.errors import HeadgateError

T = TypeVar("T")

_PAUSE = 0.5
"""Seconds for which a signal may stay unnoticed."""


class LoopThread:
    """One event loop in a daemon thread, which runs while it has holders.

    A thread does not survive a fork: in a child of a process that holds the loop, every use is refused.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._lock = threading.Lock()
        self._holders = 0
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Hold the loop; the first holder starts it."""
        self._refuse_fork()
        with self._lock:
            if self._holders == 0:
                self._start()
            self._holders += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the loop; the last holder ends it. Does nothing in a forked child."""
        if self._forked:
            return
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._end()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the loop and wait. An interruption here (Ctrl-C, SystemExit) cancels it there, and lets it end."""
        loop = self._loop
        if loop is None or self._forked:
            coroutine.close()
            self._refuse_fork()
            raise HeadgateError("not connected: use `with headgate.sync.connect(...) as gateway:`")
        outcome: futures.Future[T] = futures.Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(loop.create_task(coroutine))
            tasks[0].add_done_callback(functools.partial(_copy_outcome, outcome))

        def stop() -> None:
            if tasks:
                tasks[0].cancel()
            else:
                outcome.set_exception(asyncio.CancelledError())

        # A signal handler may raise between any two lines: before or after the coroutine has started.
        try:
            loop.call_soon_threadsafe(start)
            _wait(outcome)
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop.call_soon_threadsafe(stop)
                _wait(outcome)
            raise

    @property
    def _forked(self) -> bool:
        return self._loop is not None and self._pid != os.getpid()

    def _refuse_fork(self) -> None:
        if self._forked:
            raise HeadgateError(
                "this process was forked from one that uses headgate: connect after the fork (gunicorn: in "
                "post_worker_init, without preload_app)"
            )

    def after_fork(self) -> None:
        """In the child: the lock may have been held, and no thread would release it."""
        self._lock = threading.Lock()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headgate", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        assert self._loop is not None and self._thread is not None
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None


def _wait(outcome: futures.Future[T]) -> None:
    # A signal that another thread takes, or that comes just before a wait, does not end the wait; Python runs its
    # handler after it.
    while not outcome.done():
        futures.wait([outcome], _PAUSE)


def _copy_outcome(outcome: futures.Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        outcome.set_exception(asyncio.CancelledError())
    elif error := task.exception():
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


loop_thread = LoopThread()
"""The event loop of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=loop_thread.after_fork)
