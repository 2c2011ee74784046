"""SIGTERM must not kill a registered process before it has deregistered.

Python leaves SIGTERM at its default, which ends the process at once; and uvicorn sends itself the signal again after
its shutdown. So if no other handler is set, the signal cancels the task that registered, and the process ends with exit
code 0 once the instance was removed.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any


class SigtermGuard:
    """Holds SIGTERM for one task between `install` and `remove`."""

    def __init__(self, wanted: bool) -> None:
        """`wanted` False: does nothing."""
        self._wanted = wanted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._leaving = False
        self._caught = False

    def install(self) -> None:
        """Handle the signal if it is still at its default. Works only in the main thread."""
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
        """The block is being left: a signal has no effect from now on."""
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
