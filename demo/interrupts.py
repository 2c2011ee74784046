"""Ctrl-C and SIGTERM while processes are started and stopped.

The first signal stops the demo normally. A second one during the stop kills every process.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Raises KeyboardInterrupt for the first signal, and calls `hurry` for every later one."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        """`hurry` runs within a signal handler: it takes no lock."""
        self._hurry = hurry
        self._came = False

    def install(self) -> None:
        """Set the handlers. Works only in the main thread."""
        for number in SIGNALS:
            signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """What the signals call."""
        if self._came:
            self._hurry()
        else:
            self._came = True
            raise KeyboardInterrupt


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block, when a process that was just started is registered and can be ended.

    Does nothing outside the main thread, or if another module (asyncio) handles the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = {number: handler for number, handler in before.items() if _may_wait(handler)}
    for number in ours:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _may_wait(handler: object) -> bool:
    if isinstance(getattr(handler, "__self__", None), Interrupts):
        return True
    return handler is signal.SIG_DFL or handler is signal.default_int_handler
