"""Interests of the registry's watchers, of each one and of all together. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from headgate_api.v1 import registry_pb2 as pb

Kind = Literal["service", "route", "circuit"]
Name = tuple[Kind, str]

BY_SERVICE: frozenset[Kind] = frozenset({"service", "circuit"})
"""Kinds whose resources have the name of a service."""


@dataclass(frozen=True, slots=True)
class Interest:
    """The interest of one watcher."""

    kinds: frozenset[Kind]
    services: frozenset[str] = frozenset()
    """Names of the services and circuits; empty: all."""

    @classmethod
    def of(cls, request: pb.WatchRequest) -> Interest:
        """The interest in a request."""
        left_out: dict[Kind, bool] = {
            "service": request.without_services,
            "route": request.without_routes,
            "circuit": request.without_circuits,
        }
        return cls(frozenset(kind for kind, out in left_out.items() if not out), frozenset(request.services))

    def covers(self, name: Name) -> bool:
        """Whether this is part of it."""
        kind, resource = name
        if kind not in self.kinds:
            return False
        return not self.services or kind not in BY_SERVICE or resource in self.services

    @property
    def whole(self) -> frozenset[Kind]:
        """The kinds of which everything is part of it."""
        return self.kinds - BY_SERVICE if self.services else self.kinds

    @property
    def named(self) -> frozenset[Name]:
        """Its parts by name."""
        return frozenset((kind, one) for kind in self.kinds & BY_SERVICE for one in self.services)


class Interests:
    """The interests of all watchers. A look-up costs the same however many there are."""

    def __init__(self) -> None:
        self.watchers = 0
        self._counts = Counter[Interest]()
        self._whole = Counter[Kind]()
        self._named = Counter[Name]()

    @property
    def different(self) -> frozenset[Interest]:
        """Each once."""
        return frozenset(self._counts)

    @property
    def named(self) -> list[Name]:
        """Names that at least one watcher asked for."""
        return list(self._named)

    def covers(self, name: Name) -> bool:
        """Whether a watcher asked for this."""
        return name[0] in self._whole or name in self._named

    def wants_all(self, kind: Kind) -> bool:
        """Whether a watcher asked for everything of this kind."""
        return kind in self._whole

    def add(self, interest: Interest) -> bool:
        """Add a watcher. Returns whether its interest is new."""
        self.watchers += 1
        self._counts[interest] += 1
        if self._counts[interest] > 1:
            return False
        self._whole.update(interest.whole)
        self._named.update(interest.named)
        return True

    def remove(self, interest: Interest) -> bool:
        """Remove a watcher. Returns whether no other has the same interest."""
        self.watchers -= 1
        self._counts[interest] -= 1
        if self._counts[interest]:
            return False
        del self._counts[interest]
        # Subtracting a counter leaves nothing that is not above zero.
        self._whole -= Counter(interest.whole)
        self._named -= Counter(interest.named)
        return True
