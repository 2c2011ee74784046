"""Refresh tokens are used once. All that descend from one login are a family, and a family has one valid token.

Each use gives the next token of the family (rotation, RFC 9700, 4.14.2). A token that is used twice was copied. The
copier is unknown, so the whole family ends (RFC 6749, 10.4). A family ends also after a total lifetime, however often
it is renewed.

The store holds one entry a user: the families that were ever renewed, by how often. A family that is absent was never
renewed, so a login writes nothing. The entry is under a lease that outlives every family in it, and it is bounded: the
oldest family above `MOST` is left out, and everything that began no later is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

PREFIX = "/headgate/refresh/v1/"
MOST = 64
"""Families of one user that are remembered."""


@dataclass(frozen=True, slots=True)
class Member:
    """One refresh token of a family."""

    family: str
    sequence: int
    """The number of renewals of the family before this token."""
    started: float
    """Unix seconds of the login."""


@dataclass(frozen=True, slots=True)
class Families:
    """The known state of one user's families."""

    renewed: Mapping[str, tuple[int | None, float]] = field(default_factory=dict)
    """By family: the sequence of its valid token, None once it has ended; and when it started."""
    floor: float = 0.0
    """Families that started no later and are not in `renewed` have ended."""
    until: float = 0.0
    """Unix seconds at which the lease of the entry ends."""
    damaged: bool = False
    """The stored value could not be read, and has to be replaced."""

    @classmethod
    def read(cls, value: bytes | None, now: float) -> Families:
        """From the store. If the value cannot be read, every family that began earlier has ended."""
        if value is None:
            return cls()
        try:
            raw = json.loads(value, parse_constant=_no_number)
            renewed = {str(name): (one[0], float(one[1])) for name, one in raw["families"].items()}
            return cls(renewed, float(raw["floor"]), float(raw["until"]))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return cls(floor=now, damaged=True)

    @property
    def value(self) -> bytes:
        """For the store."""
        return json.dumps({"families": self.renewed, "floor": self.floor, "until": self.until}).encode()

    def valid(self, member: Member) -> bool:
        """Whether this is the one token of its family that may be used."""
        held = self.renewed.get(member.family)
        if held is None:
            return member.sequence == 0 and member.started > self.floor
        return held[0] == member.sequence

    def ended(self, member: Member) -> bool:
        """Whether the family is known to have ended already."""
        held = self.renewed.get(member.family)
        return (held is not None and held[0] is None) or (held is None and not self.valid(member))

    def after(self, member: Member, sequence: int | None, now: float, lifetime: float) -> Families:
        """The state with another valid token for the family, or none; without families that have expired, and within
        bounds."""
        held = {name: one for name, one in self.renewed.items() if one[1] + lifetime > now}
        held[member.family] = sequence, member.started
        floor = self.floor
        oldest = sorted(held.items(), key=lambda item: item[1][1])
        for name, (_, started) in oldest[: max(0, len(held) - MOST)]:
            floor = max(floor, started)
            del held[name]
        return replace(self, renewed=held, floor=floor, damaged=False)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a time")


class Rotation(Protocol):
    """The store of families. Implemented by `commands.adapters.StoredFamilies`."""

    async def use(self, username: str, member: Member, now: float) -> Member:
        """Use a token up; return the next one of its family. Raises InvalidToken, and the store's errors.

        A token that was used before ends its family.
        """

    async def end(self, username: str, member: Member, now: float) -> None:
        """End a family (RFC 7009). Raises the store's errors."""
