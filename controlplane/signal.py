"""Wakes listeners after a change. They read the new state themselves: the latest wins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 16
"""Listeners that are woken in one turn of the event loop: about a millisecond's work, where they write to streams."""


class Signal:
    """Sets the events of all listeners. One event may listen to several signals.

    A listener waits on its event, clears it, and then looks: however often the signal was given meanwhile, the
    listener wakes once and sees the last state. It waits for no listener, and nothing queues up.
    """

    def __init__(self) -> None:
        self._events: set[asyncio.Event] = set()

    @contextmanager
    def wakes(self, event: asyncio.Event) -> Iterator[asyncio.Event]:
        """Set `event` at every `notify` within the block."""
        self._events.add(event)
        try:
            yield event
        finally:
            self._events.discard(event)

    @property
    def heard(self) -> bool:
        """Whether there are listeners."""
        return bool(self._events)

    def notify(self) -> None:
        """Wake all listeners."""
        self._wake(list(self._events))

    def _wake(self, events: list[asyncio.Event]) -> None:
        """A thousand streams that all write at once would block the event loop: they take turns with other tasks."""
        for event in events[:AT_ONCE]:
            event.set()
        if rest := events[AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._wake, rest)
