"""How long is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rounds:
    """So many interleaved rounds, each with so many seconds of load per contender."""

    count: int
    seconds: float

    def of(self, seconds: float) -> Rounds:
        """As many, of another length; never longer than these are."""
        return replace(self, seconds=min(seconds, self.seconds))


NORMAL = Rounds(5, 4.0)
QUICK = Rounds(2, 1.0)
