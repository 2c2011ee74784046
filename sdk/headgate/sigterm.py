"""SIGTERM must not kill a registered process without goodbye.

Python leaves SIGTERM at its default, death on the spot; and uvicorn, having shut down in order, sends itself the signal
once more. So where nobody else handles it, the signal is turned into a cancellation of the task that registered, and
the process ends with exit code 0 once the instance has left the table.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any


class SigtermGuard:
    """Holds SIGTERM for one task between `install` and `remove`."""

    def __init__(self, wanted: bool) -> None:
        """Does nothing at all when not wanted."""
        self._wanted = wanted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._leaving = False
        self._caught = False

    def install(self) -> None:
        """Take the signal if it is still at its default and this is the main thread, which alone can."""
        if not self._wanted or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGTERM, self._on_signal)
        except NotImplementedError:  # Windows
            return
        self._loop, self._task = loop, asyncio.current_task()

    def leaving(self) -> None:
        """The block is being left: a signal changes nothing any more."""
        self._leaving = True

    def remove(self) -> None:
        """Give the signal back."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGTERM)
            self._loop = None

    def exit_if_caught(self, error: BaseException | None) -> None:
        """Turn the cancellation that the signal caused into the end of the process: raises SystemExit(0)."""
        if self._caught and isinstance(error, asyncio.CancelledError):
            raise SystemExit(0)

    def _on_signal(self) -> None:
        if self._task is not None and not self._leaving:
            self._caught = True
            self._task.cancel()
