"""Logins and tokens that end before they expire: what the store remembers of one user. Pure.

An access token is valid by its signature alone, for minutes. So what has ended is remembered until every token of it
has expired, and then forgotten. Tokens of a login carry its id (`sid`), and every token its own (`jti`): both can end.

The entry of a user is bounded: above `MOST` the oldest id is replaced by a floor, and every token of that user that was
issued no later than that id ended has ended too. The refresh token of another login of the user then gives a new one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "/headgate/revoked/v1/"
MOST = 64
"""Ids that are remembered of one user."""
LONGEST = 86_400.0
"""Seconds that any access token is valid: the highest `ACCESS_TOKEN_TTL`."""

Span = tuple[float, float]
"""Unix seconds: when it ended, and when the last of its tokens expires."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What has ended of one user's tokens."""

    ids: Mapping[str, Span] = field(default_factory=dict)
    """By the id of a login or of a token."""
    floor: Span = (0.0, 0.0)
    """Tokens that were issued no later have ended, too."""

    @classmethod
    def read(cls, value: bytes | None, now: float) -> Revoked:
        """From the store. If the value cannot be read, every token that was issued earlier has ended."""
        if value is None:
            return cls()
        try:
            raw = json.loads(value)
            return cls({str(name): _span(one) for name, one in raw["ids"].items()}, _span(raw["floor"]))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
            return cls(floor=(now, now + LONGEST))

    @property
    def value(self) -> bytes:
        """For the store."""
        return json.dumps({"ids": self.ids, "floor": self.floor}).encode()

    @property
    def until(self) -> float:
        """Unix seconds from which on nothing has to be remembered."""
        return max((until for _, until in (*self.ids.values(), self.floor)), default=0.0)

    def covers(self, session: str, token: str, issued: float) -> bool:
        """Whether a token has ended, by the ids of its login and its own, and by the time at which it was issued."""
        return session in self.ids or token in self.ids or issued <= self.floor[0]

    def joined(self, other: Revoked, now: float) -> Revoked:
        """Both, without what has expired, and within bounds."""
        held = {name: one for name, one in {**other.ids, **self.ids}.items() if one[1] > now}
        floors = [one for one in (self.floor, other.floor) if one[1] > now]
        oldest = sorted(held.items(), key=lambda item: item[1])
        for name, span in oldest[: max(0, len(held) - MOST)]:
            floors.append(span)
            del held[name]
        return Revoked(
            held, (max((f[0] for f in floors), default=0.0), max((f[1] for f in floors), default=0.0))
        )


def _span(raw: list[float]) -> Span:
    ended, until = float(raw[0]), float(raw[1])
    if not (math.isfinite(ended) and math.isfinite(until)):
        raise ValueError("not a time")
    return ended, until
