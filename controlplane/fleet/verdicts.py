"""Votes of data planes on instances. Pure.

Each data plane has a slot: a bit in three numbers that are kept for each instance. Taking a vote sets or clears bits,
and counting votes counts bits, so that an instance takes some bytes for eight data planes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from controlplane.fleet.reports import InstanceHealth, InstanceStatus

InstanceName = tuple[str, str]
"""Names of the service and of the instance."""


MOST_INSTANCES = 500_000
"""Instances that are kept; others are dropped."""


@dataclass(slots=True)
class Verdict:
    """The votes on one instance, a bit per slot."""

    known: int = 0
    """Data planes that know the instance."""
    well: int = 0
    ill: int = 0
    last_check: float = 0.0
    failed_at: float = 0.0
    reason: str = ""
    """Of the last probe that failed, at `failed_at`, by any data plane."""

    def vote(self, slot: int) -> InstanceStatus | None:
        """The votes of one data plane; None when it does not know the instance."""
        bit = 1 << slot if slot >= 0 else 0
        if self.well & bit:
            return InstanceStatus.HEALTHY
        if self.ill & bit:
            return InstanceStatus.UNHEALTHY
        return InstanceStatus.STARTING if self.known & bit else None


class Verdicts:
    """The votes of the data planes of one control plane."""

    def __init__(self) -> None:
        self._found: dict[InstanceName, Verdict] = {}
        self._used = 0
        """Bits of the slots that are taken."""
        self._unclean = 0
        """Bits of slots that were given back and whose votes have not been removed yet."""
        self.marks: list[set[InstanceName]] = []
        """Sets to which the names of instances are added whose verdict changed, for streams to followers."""

    @property
    def found(self) -> Mapping[InstanceName, Verdict]:
        """By instance."""
        return self._found

    def take_slot(self) -> int:
        """A slot without votes."""
        if self._unclean:
            # All at once, because many data planes leave together.
            self._clear(self._unclean)
            self._unclean = 0
        slot = (~self._used & (self._used + 1)).bit_length() - 1
        self._used |= 1 << slot
        return slot

    def free_slot(self, slot: int) -> None:
        """Its data plane is forgotten."""
        self._used &= ~(1 << slot)
        self._unclean |= 1 << slot

    def say(self, slot: int, reports: Iterable[InstanceHealth]) -> tuple[bool, set[str]]:
        """Take one data plane's votes on some instances.

        Returns whether any vote changed, and the services with any change, such as the time or reason of the last
        probe.
        """
        # Thousands come at once: there is no call and no operation on a bit per data plane here that can be spared.
        bit, found, healthy = 1 << slot, self._found, InstanceStatus.HEALTHY
        voted, changed, services = False, list[InstanceName](), set[str]()
        for service, instance, status, last_check, reason in reports:
            name = service, instance
            if (verdict := found.get(name)) is None:
                if len(found) >= MOST_INSTANCES:
                    continue
                verdict = found[name] = Verdict()
            differs = False
            if status is not healthy or not verdict.well & bit:
                differs = _vote(verdict, bit, status)
                voted = voted or differs
            if last_check > verdict.last_check:
                verdict.last_check, differs = last_check, True
            if reason and last_check >= verdict.failed_at:
                differs = differs or reason != verdict.reason
                verdict.failed_at, verdict.reason = last_check, reason
            if differs:
                services.add(service)
                changed.append(name)
        self._mark(changed)
        return voted, services

    def forget(self, slot: int, names: Iterable[InstanceName]) -> list[InstanceName]:
        """The data plane does not know these instances any more. Returns those that it knew before."""
        bit = 1 << slot
        gone = [name for name in names if (found := self._found.get(name)) is not None and found.known & bit]
        for name in gone:
            self._retract(name, ~bit)
        self._mark(gone)
        return gone

    def forget_others(self, slot: int, names: Collection[InstanceName]) -> list[InstanceName]:
        """The data plane knows only these instances. Returns those that it knew before."""
        bit = 1 << slot
        gone = [name for name, found in self._found.items() if found.known & bit and name not in names]
        return self.forget(slot, gone)

    def adopt(self, slot: int, votes: Mapping[InstanceName, Verdict], theirs: int) -> None:
        """A data plane has come from another control plane, where its slot was `theirs`."""
        names = []
        for name, there in votes.items():
            if (status := there.vote(theirs)) is not None:
                names.append(name)
                found = self._found.setdefault(name, Verdict())
                _vote(found, 1 << slot, status)
                found.last_check = max(found.last_check, there.last_check)
                if there.failed_at > found.failed_at:
                    found.failed_at, found.reason = there.failed_at, there.reason
        self._mark(names)

    def _mark(self, names: Iterable[InstanceName]) -> None:
        for marks in self.marks:
            marks.update(names)

    def _clear(self, bits: int) -> None:
        names = [name for name, found in self._found.items() if found.known & bits]
        for name in names:
            self._retract(name, ~bits)
        self._mark(names)

    def _retract(self, name: InstanceName, kept: int) -> None:
        """Keep the votes of these slots only; an instance without votes is not kept."""
        found = self._found[name]
        found.known &= kept
        found.well &= kept
        found.ill &= kept
        if not found.known:
            del self._found[name]


def _vote(found: Verdict, bit: int, status: InstanceStatus) -> bool:
    """Set a data plane's vote. Returns whether it changed."""
    well, ill = status is InstanceStatus.HEALTHY, status is InstanceStatus.UNHEALTHY
    was_well, was_ill = bool(found.well & bit), bool(found.ill & bit)
    if was_well is well and was_ill is ill and found.known & bit:
        return False
    found.known |= bit
    # Flip each wrong bit.
    if was_well is not well:
        found.well ^= bit
    if was_ill is not ill:
        found.ill ^= bit
    return True
