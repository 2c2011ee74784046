"""Wakes those who want to know that something changed. What it is now they look up themselves: the latest wins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Signal:
    """Sets the events of everybody who listens. One event may listen to several signals.

    A listener waits on its event, clears it, and then looks: however often the signal was given meanwhile, the
    listener wakes once and sees the last state. Nobody is waited for, and nothing queues up.
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

    def notify(self) -> None:
        """Say that something changed."""
        for event in self._events:
            event.set()
