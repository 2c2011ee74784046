"""The last events of this control plane, numbered. Pure but for the signal."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
from typing import Final

from controlplane.signal import Signal

MOST_EVENTS: Final = 10_000
"""Events that are remembered: an hour of a lively gateway."""


class Kind(StrEnum):
    """What an event is about."""

    CHANGE = "change"
    """The configuration was changed, by whom and how."""
    PUBLISHED = "published"
    """Data planes are sent a new configuration."""
    REFUSED = "refused"
    """The content of the store cannot be published."""
    SERVED = "served"
    """All connected data planes serve a configuration."""
    REJECTED = "rejected"
    """A data plane rejected a configuration, or it is withheld from it."""
    DATAPLANE = "dataplane"
    """A data plane connected, or its stream ended."""
    INSTANCE = "instance"
    """The fleet's verdict on an instance changed."""
    CIRCUIT = "circuit"
    """The worst state of a service's breaker over the fleet changed."""
    STORE = "store"
    """The store was lost, or answers again."""


Fields = Mapping[str, object]
NO_FIELDS: Fields = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    kind: Kind
    at: float
    """Unix seconds."""
    text: str
    """One sentence for people."""
    revision: int = 0
    """Of the configuration that it concerns, or the published one."""
    fields: Fields = field(default_factory=lambda: NO_FIELDS)
    """Facts for programs: see `api.shapes.events`."""
    number: int = 0
    """Its place in the log, from 1."""


class EventLog:
    """Remembers the last events, and wakes those who follow them."""

    def __init__(self, began: float, most: int = MOST_EVENTS) -> None:
        """`began`: Unix seconds since which everything is noted."""
        self.id = secrets.token_hex(4)
        """Differs from that of other control planes, and of this one after a restart."""
        self.added = Signal()
        self.last = 0
        """Number of the last event; 0 before the first."""
        self._events: deque[Event] = deque(maxlen=most)
        self.began = began
        """Unix seconds."""

    @property
    def first(self) -> int:
        """Number of the oldest event that is remembered, or of the next one."""
        return self.last - len(self._events) + 1

    @property
    def since(self) -> float:
        """Unix seconds since which every event is remembered."""
        if len(self._events) == self._events.maxlen:
            return self._events[0].at
        return self.began

    def number_at(self, at: float) -> int:
        """Number of the last event up to this Unix time."""
        later = sum(one.at > at for one in self._events)
        return self.last - later

    def add(self, kind: Kind, at: float, text: str, revision: int = 0, fields: Fields = NO_FIELDS) -> None:
        """Note an event."""
        self.last += 1
        self._events.append(Event(kind, at, text, revision, fields, self.last))
        self.added.notify()

    def after(self, number: int, most: int = MOST_EVENTS) -> list[Event]:
        """The events with higher numbers, the oldest first; of those that are remembered."""
        start = max(0, number + 1 - self.first)
        return list(islice(self._events, start, start + most))
