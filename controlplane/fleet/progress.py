"""Progress of the fleet towards the goal of a wait. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from controlplane.fleet.reports import Rejection
from controlplane.fleet.tally import Count


@dataclass(frozen=True, slots=True)
class Quorum:
    """The number of connected data planes that is enough, in each pool: a number, a percentage, or, without either,
    all."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Quorum:
        """`all`, `2` or `50%`. Raises ValueError."""
        if text == "all":
            return cls()
        if match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", text, re.ASCII):
            percent = float(match[1])
            if 0 < percent <= 100:
                return cls(percent=percent)
        elif re.fullmatch(r"\d{1,6}", text, re.ASCII) and int(text) > 0:
            return cls(count=int(text))
        raise ValueError("quorum must be all, a number from 1 or a percentage such as 50%")

    def of(self, connected: int) -> int:
        """The number that is needed when `connected` are connected."""
        if self.count is not None:
            return self.count
        share = 100.0 if self.percent is None else self.percent
        # Rounded up; the subtrahend keeps the error of floats from asking for one more.
        return math.ceil(connected * share / 100 - 1e-9)

    def needed(self, count: Count) -> int:
        """The number that is needed in all."""
        return max(self.count or 0, sum(self._of_each(one) for one in count.each()))

    def reached(self, count: Count) -> bool:
        """Whether enough are done, in each pool: those of a pool that a change does not concern are done at once."""
        return count.done >= self.needed(count) and all(
            one.done >= self._of_each(one) for one in count.each()
        )

    def missed(self, count: Count) -> bool:
        """Whether too many refuse, in all or in one pool."""
        return (count.refusing > 0 and count.connected - count.refusing < self.needed(count)) or any(
            one.refusing and one.connected - one.refusing < self._of_each(one) for one in count.each()
        )

    def _of_each(self, count: Count) -> int:
        return min(self.of(count.connected), count.connected)


ALL = Quorum()


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One data plane's progress."""

    node: str
    connected: bool
    applied_revision: int
    done: bool
    reason: str = ""
    """The reason why it is not done, in words."""
    rejection: Rejection | None = None
    """Set when it refused the revision of the wait."""

    def __str__(self) -> str:
        return f"{self.node} ({self.reason})" if self.reason else self.node


@dataclass(frozen=True)
class Progress:
    """Progress of the fleet towards `revision`. Only data planes that are connected count."""

    revision: int
    digest: str
    """Of the published table that holds the revision; empty when none does yet."""
    needed: int
    done: int
    """Number of data planes that reached the goal."""
    listed: Callable[[], tuple[NodeProgress, ...]] = field(repr=False)
    """Gives `nodes`, on demand: most waits need no list of a thousand data planes."""
    problem: str = ""
    """The reason why no data plane can serve it now; empty when none is known."""
    reached: bool = True
    """Whether enough data planes of each pool are among them."""
    missed: bool = False
    """Whether too many data planes of a pool refuse it."""
    settled: bool = True
    """Whether every data plane that was connected a moment ago still is. Disconnected ones still serve their
    configuration."""

    @cached_property
    def nodes(self) -> tuple[NodeProgress, ...]:
        """Every data plane, sorted by name, as of the first time that this is asked for."""
        return self.listed()

    @property
    def complete(self) -> bool:
        """Whether enough data planes reached the goal."""
        return bool(self.digest) and self.settled and self.reached and self.done >= self.needed

    @property
    def rejected(self) -> bool:
        """Whether too many refuse for the rest to be enough."""
        if self.complete:
            return False
        willing = sum(node.connected and node.rejection is None for node in self.nodes)
        return (self.missed or willing < self.needed) and any(node.rejection for node in self.nodes)

    @cached_property
    def stragglers(self) -> tuple[NodeProgress, ...]:
        """Connected data planes that have not reached the goal."""
        return tuple(node for node in self.nodes if node.connected and not node.done)
