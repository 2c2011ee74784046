"""How data planes judged instances: which one changed its mind, when, and why; and the fleet's verdict. Pure.

A data plane that comes back, here or at another control plane, is not news: its last opinion stays until it has another
one. Instances that every data plane always found healthy take no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.fleet.reports import InstanceStatus
from controlplane.fleet.verdicts import InstanceName
from controlplane.fleet.views import Ballot

MOST_KEPT: Final = 64
"""Judgements of one instance that are remembered."""
MOST_INSTANCES: Final = 5000
"""Instances with judgements; beyond it, those that were judged first are forgotten."""

REMOVED: Final = "removed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A change of one data plane's opinion, or of the fleet's verdict."""

    at: float
    """Unix seconds at which this control plane saw it."""
    dataplane: str
    """Its name; empty: the fleet's verdict."""
    status: str
    previous: str
    """Empty: not known."""
    reason: str
    """Of the last failed probe by any data plane; empty for one that is healthy."""
    healthy: int
    unhealthy: int
    """Votes after it."""


class Judgements:
    """The history of each instance. `known` says whether a data plane is still known."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._ill: dict[InstanceName, frozenset[str]] = {}
        """The data planes whose last opinion is that it is unhealthy."""
        self._away: set[InstanceName] = set()
        """Instances that one of these finds so which does not vote now."""
        self._kept: dict[InstanceName, deque[Judgement]] = {}

    def of(self, name: InstanceName) -> Sequence[Judgement]:
        """The judgements on an instance, the oldest first."""
        return tuple(self._kept.get(name, ()))

    def waits(self, name: InstanceName) -> bool:
        """Whether a data plane that found it unhealthy is away, and may come back with another opinion."""
        return name in self._away

    def matters(self, name: InstanceName, status: str) -> bool:
        """Whether a verdict of the fleet is remembered: instances that were always healthy have no history."""
        return name in self._kept or status in (InstanceStatus.UNHEALTHY, InstanceStatus.DRAINING)

    def vote(self, name: InstanceName, ballot: Ballot, at: float) -> None:
        """Compare the votes with those at the last look."""
        before, ill = self._ill.get(name, frozenset()), frozenset(ballot.unhealthy)
        well = frozenset(ballot.healthy)
        for node in sorted(ill - before):
            self._add(name, ballot, at, node, InstanceStatus.UNHEALTHY, "", ballot.reason)
        for node in sorted((before - ill) & well):
            self._add(name, ballot, at, node, InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY, "")
        # The others are away, and their opinion stands.
        away = {node for node in before - ill - well if self._known(node)}
        _keep(self._away, name, keep=bool(away))
        if ill or away:
            self._ill[name] = ill | away
        else:
            self._ill.pop(name, None)

    def forget(self, name: InstanceName) -> None:
        """The instance is gone; its history stays."""
        self._ill.pop(name, None)
        self._away.discard(name)

    def decide(
        self,
        name: InstanceName,
        ballot: Ballot,
        at: float,
        *,
        status: str,
        previous: str,
        reason: str,
    ) -> None:
        """The fleet's verdict changed, and `matters`."""
        self._add(name, ballot, at, "", status, previous, reason)

    def _add(
        self,
        name: InstanceName,
        ballot: Ballot,
        at: float,
        node: str,
        status: str,
        previous: str,
        reason: str,
    ) -> None:
        if name not in self._kept:
            if len(self._kept) >= MOST_INSTANCES:
                del self._kept[next(iter(self._kept))]
            self._kept[name] = deque(maxlen=MOST_KEPT)
        votes = len(ballot.healthy), len(ballot.unhealthy)
        self._kept[name].append(Judgement(at, node, str(status), str(previous), reason, *votes))


def _keep(names: set[InstanceName], name: InstanceName, *, keep: bool) -> None:
    if keep:
        names.add(name)
    else:
        names.discard(name)
