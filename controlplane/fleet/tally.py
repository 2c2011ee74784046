"""The connected data planes of the whole fleet, counted by the conditions of waits. Pure.

Most data planes of a fleet serve, refuse and report the same. So a count goes over the few standings that differ, and
not over the data planes; and a data plane that answers moves from one standing to another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.fleet.reports import NodeState
from controlplane.fleet.verdicts import InstanceName
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.snapshot import Snapshot

PartOf = Callable[[str], Snapshot | None]
"""The published configuration for a pool; None without one."""


def nothing(pool: str) -> Snapshot | None:
    """Nothing is published."""
    return None


class Standing(NamedTuple):
    """The progress of a data plane."""

    applied: int
    """The revision that it serves, and its digest."""
    digest: str
    reported: int
    """The revision that it served when it last reported the health of instances."""
    refused: int
    """The revision that it refused last, and its digest; -1 when it refused none."""
    refused_digest: str
    pool: str = DEFAULT_POOL

    def has_served(self, revision: int, digest: str) -> bool:
        """Whether it serves this table, or a later one without having refused this one."""
        return self.digest == digest or (self.applied > revision and self.refused_digest != digest)


def standing_of(state: NodeState) -> Standing:
    """The standing of a data plane in this state."""
    refused = state.last_rejection
    return Standing(
        state.applied_revision,
        state.digest,
        state.health_revision,
        refused.revision if refused else -1,
        refused.digest if refused else "",
        state.pool,
    )


@dataclass(frozen=True, slots=True)
class Count:
    """Progress of the connected data planes towards a revision."""

    connected: int
    done: int
    """Data planes that serve it or a later one, and that have reported health since, if the wait asks for that."""
    refusing: int
    """Data planes that do not serve it, and refuse it, a later one, or an equivalent one."""
    pools: Mapping[str, Count] = field(default_factory=dict)
    """The same for each pool, if there are several."""

    def each(self) -> Iterable[Count]:
        """The counts of the pools."""
        return self.pools.values() if self.pools else (self,)


@dataclass(frozen=True, slots=True)
class Serving:
    """The connected data planes by the revision that they serve."""

    connected: int
    standings: tuple[tuple[int, int], ...]
    """Revisions, and the number of data planes that serve each."""

    def count(self, revision: int) -> int:
        """Number of data planes that serve this revision or a later one."""
        return sum(number for applied, number in self.standings if applied >= revision)


class Tally:
    """Kept up to date by the fleet, one data plane at a time."""

    def __init__(self) -> None:
        self.departures = 0
        """Number of times that a data plane left."""
        self._of: dict[str, tuple[NodeState, Standing]] = {}
        self._standings = Counter[Standing]()
        self._busy: dict[InstanceName, set[str]] = {}

    @property
    def connected(self) -> int:
        """How many data planes are connected."""
        return len(self._of)

    def serving(self) -> Serving:
        """The data planes as they are now."""
        found = Counter[int]()
        for one, number in self._standings.items():
            found[one.applied] += number
        return Serving(len(self._of), tuple(found.items()))

    @property
    def pools(self) -> Set[str]:
        """The pools of the connected data planes."""
        return {one.pool for one in self._standings}

    def refuses(self, part_of: PartOf) -> bool:
        """Whether any data plane refused a later revision than it serves, or the published configuration."""
        return any(
            one.refused > one.applied or one.refused_digest == _digest(part_of(one.pool)) != ""
            for one in self._standings
        )

    def busy(self, instance: InstanceName) -> set[str]:
        """Names of the data planes with requests under way at an instance that takes no new ones."""
        return self._busy.get(instance, set())

    def all_have_served(self, revision: int, digest: str, pool: str = DEFAULT_POOL) -> bool:
        """Whether those of a pool that serve a configuration have served this one; False when none serves it now."""
        serving = [one for one in self._standings if one.digest and one.pool == pool]
        now = any(one.digest == digest for one in serving)
        return now and all(one.has_served(revision, digest) for one in serving)

    def count(self, revision: int, part_of: PartOf, *, reported: bool = False) -> Count:
        """Their progress towards `revision`; `part_of` is of the published configuration that holds it.

        With `reported` those that have not reported health since are not done.
        """
        connected, done, refusing = Counter[str](), Counter[str](), Counter[str]()
        for one, number in self._standings.items():
            connected[one.pool] += number
            part = part_of(one.pool)
            digest = _digest(part)
            if one.applied >= revision or (digest and one.digest == digest):
                if not reported or one.reported >= revision or _has_reported(one, part):
                    done[one.pool] += number
            elif one.refused >= revision or (digest and one.refused_digest == digest):
                refusing[one.pool] += number
        pools = {
            pool: Count(number, done[pool], refusing[pool]) for pool, number in sorted(connected.items())
        }
        return Count(len(self._of), done.total(), refusing.total(), pools if len(pools) > 1 else {})

    def put(self, name: str, state: NodeState | None) -> None:
        """The current state of a data plane; None: nothing any more."""
        before, standing = self._of.get(name), None
        if state is not None and state.connected:
            standing = standing_of(state)
            self._of[name] = state, standing
        elif before is not None:
            del self._of[name]
            self.departures += 1
        self._move(before[1] if before else None, standing)
        self._keep_busy(name, before[0] if before else None, state if standing else None)

    def _move(self, before: Standing | None, after: Standing | None) -> None:
        if before == after:
            return
        if before is not None:
            self._standings[before] -= 1
            if not self._standings[before]:
                del self._standings[before]
        if after is not None:
            self._standings[after] += 1

    def _keep_busy(self, name: str, before: NodeState | None, after: NodeState | None) -> None:
        gone, there = before.leaving if before else {}, after.leaving if after else {}
        if gone is there:
            return
        for instance in gone.keys() - there.keys():
            self._busy[instance].discard(name)
            if not self._busy[instance]:
                del self._busy[instance]
        for instance in there:
            self._busy.setdefault(instance, set()).add(name)


def _digest(part: Snapshot | None) -> str:
    return part.digest if part is not None else ""


def _has_reported(one: Standing, part: Snapshot | None) -> bool:
    """Whether it has reported health with the content that the pool has now, whatever changed in others."""
    return part is not None and 0 < part.since <= one.reported and one.digest == part.digest
