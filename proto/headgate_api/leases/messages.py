"""Messages between owner and holder about one limit, and the times that must be equal at both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

ASKING: Final = 0.1
"""Seconds between two asks of a holder, at least, unless a key runs low."""
LEASE: Final = 2.0
"""Seconds, from the ask, that a holding above the starter may be spent."""
SHARE: Final = 3600.0
"""Seconds, from the ask, that a starter may be used under WithoutOwner.SHARE, at most and unless the limit says less;
LEASE otherwise."""
SKEW: Final = 1.01
"""Ratio of two clocks' rates, at most. NTP slews by 1.0005."""
MOST_WANTS: Final = 1000
"""Keys in an ask. Further keys follow in the next asks."""


class WithoutOwner(Enum):
    """The policy of a holder without an answer of the owner for longer than LEASE."""

    STRICT = "strict"
    """Refuses. The bound holds."""
    SHARE = "share"
    """Admits its share of the rate, from its starter. The bound holds."""
    OPEN = "open"
    """Admits everything. No bound applies."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate`: tokens a second, above 0. `burst`: tokens, at least 1. `share`: seconds, LEASE to SHARE, that a starter
    may be used under WithoutOwner.SHARE."""

    rate: float
    burst: int
    without_owner: WithoutOwner = WithoutOwner.SHARE
    share: float = SHARE

    @property
    def reserve(self) -> int:
        """The maximum of all starters of a key together, in tokens."""
        return self.burst // 2

    def pace(self, starter: float) -> float:
        """Tokens a second that the holder of `starter` gains while it is away; for all starters together at most
        `rate`."""
        return self.rate * starter / self.reserve if self.shared and self.reserve > 0 else 0.0

    @property
    def shared(self) -> bool:
        """Whether holders keep using their shares while the owner is away."""
        return self.without_owner is WithoutOwner.SHARE

    @property
    def factor(self) -> float:
        """Tokens a second that a holder gains while it is away, for each token of its starter."""
        return self.pace(1.0)

    @property
    def starter_lease(self) -> float:
        """Seconds, from the ask, that a starter may be used."""
        return self.share if self.shared else LEASE


class Want(NamedTuple):
    """One key in an ask. Tokens: what is held (below 0: overdrawn), what is given back and no longer held (at least
    0), how much the holder wants to hold, what requests took that turned out to cost less (said once), and what was
    spent since the last ask, for the measurement of the bound (over longer than LEASE, less the rate before). `reset`:
    revision of an operator's order to fill up the bucket; 0: none."""

    key: str
    holds: float
    back: float
    wants: float
    credit: float = 0.0
    spent: float = 0.0
    reset: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """An ask of a holder. A holder has at most one ask under way, and never sends one twice."""

    stamp: float
    """Seconds by the holder's clock; greater in each ask."""
    answered: float
    """The stamp of the last ask whose answer was used; -inf if there is none."""
    starter: int
    """The largest starter that a holding may still be based on, in tokens; 0 if it has lapsed."""
    wants: tuple[Want, ...]
    run: int = 0
    """Greater for each holder of the limit in one process than for the previous one, whose tokens count as spent."""


class Grant(NamedTuple):
    """One key in an answer. `tokens` more may be spent; what is above `target` at the next ask should be given back;
    with `forget` the owner counts a starter, and no more. `pool`: tokens that no holder has; below 0, the tokens that
    all holders together lack. It is sent for answers to clients."""

    key: str
    tokens: float
    target: float
    forget: bool
    pool: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The owner's answer to the ask with `stamp`."""

    stamp: float
    epoch: int
    """Greater for each owner of the limit than for the previous one."""
    starter: int
    """The holder's tokens of each key without another holding."""
    lease: float
    """Seconds, from the ask, that the starter may be used."""
    pace: float
    """Tokens a second that each holding gains, up to the starter, while the holder is away."""
    grants: tuple[Grant, ...]
    drained: tuple[str, ...] = ()
    """Keys that have not paid for a higher starter of a later answer: for them the holder keeps its current one."""
