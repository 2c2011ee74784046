"""What data planes find of the instances: a small summary per instance, however many data planes there are. Pure.

Each data plane has a slot, a bit in three numbers that each instance has. A vote costs one operation on a number of a
bit per data plane, and counting votes is counting bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum

from controlplane.fleet.reports import InstanceHealth, InstanceStatus

InstanceName = tuple[str, str]
"""Names of the service and of the instance."""


MOST_INSTANCES = 500_000
"""Instances that are kept; whatever else a data plane may report is dropped."""


class Effect(IntEnum):
    """What a report changed."""

    NONE = 0
    CHECKED = 1
    """The time or the reason of the last probe."""
    VOTED = 2
    """A data plane's verdict."""


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
        """What one data plane finds; None when it does not know the instance."""
        bit = 1 << slot
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
        """Bits of slots that were given back, and whose votes were not removed yet."""
        self.marks: list[set[InstanceName]] = []
        """Sets into which the names of instances go whose verdict changed: of those who tell others of them."""

    @property
    def found(self) -> Mapping[InstanceName, Verdict]:
        """By instance."""
        return self._found

    def take_slot(self) -> int:
        """A slot without votes."""
        if self._unclean:
            # All at once: many data planes leave together.
            self._clear(self._unclean)
            self._unclean = 0
        slot = (~self._used & (self._used + 1)).bit_length() - 1
        self._used |= 1 << slot
        return slot

    def free_slot(self, slot: int) -> None:
        """Its data plane is forgotten."""
        self._used &= ~(1 << slot)
        self._unclean |= 1 << slot

    def say(self, slot: int, one: InstanceHealth) -> Effect:
        """Take one data plane's word on one instance."""
        name = one.service_name, one.instance_id
        found = self._found.get(name)
        if found is None:
            if len(self._found) >= MOST_INSTANCES:
                return Effect.NONE
            found = self._found[name] = Verdict()
        effect = _checked(found, one, _vote(found, 1 << slot, one.status))
        if effect:
            self._mark(name)
        return effect

    def forget(self, slot: int, name: InstanceName) -> Effect:
        """The data plane does not know the instance any more."""
        if (found := self._found.get(name)) is None or not found.known >> slot & 1:
            return Effect.NONE
        self._mark(name)
        _retract(found, ~(1 << slot))
        if not found.known:
            del self._found[name]
        return Effect.VOTED

    def forget_others(self, slot: int, names: Collection[InstanceName]) -> list[InstanceName]:
        """The data plane knows no instances but these. Returns those that it knew before."""
        gone = [name for name, found in self._found.items() if found.known >> slot & 1 and name not in names]
        for name in gone:
            self.forget(slot, name)
        return gone

    def adopt(self, slot: int, votes: Mapping[InstanceName, Verdict], theirs: int) -> None:
        """A data plane has come from another control plane, where its slot was `theirs`."""
        for name, there in votes.items():
            if (status := there.vote(theirs)) is not None:
                self._mark(name)
                found = self._found.setdefault(name, Verdict())
                _vote(found, 1 << slot, status)
                found.last_check = max(found.last_check, there.last_check)
                if there.failed_at > found.failed_at:
                    found.failed_at, found.reason = there.failed_at, there.reason

    def _mark(self, name: InstanceName) -> None:
        for marks in self.marks:
            marks.add(name)

    def _clear(self, bits: int) -> None:
        for name, found in list(self._found.items()):
            if found.known & bits:
                self._mark(name)
                _retract(found, ~bits)
                if not found.known:
                    del self._found[name]


def _vote(found: Verdict, bit: int, status: InstanceStatus) -> bool:
    well, ill = status is InstanceStatus.HEALTHY, status is InstanceStatus.UNHEALTHY
    if found.known & bit and bool(found.well & bit) == well and bool(found.ill & bit) == ill:
        return False
    found.known |= bit
    found.well = found.well | bit if well else found.well & ~bit
    found.ill = found.ill | bit if ill else found.ill & ~bit
    return True


def _checked(found: Verdict, one: InstanceHealth, voted: bool) -> Effect:
    effect = Effect.VOTED if voted else Effect.NONE
    if one.last_check > found.last_check:
        found.last_check, effect = one.last_check, max(effect, Effect.CHECKED)
    if one.reason and one.last_check >= found.failed_at:
        if one.reason != found.reason:
            effect = max(effect, Effect.CHECKED)
        found.failed_at, found.reason = one.last_check, one.reason
    return effect


def _retract(found: Verdict, kept: int) -> None:
    found.known &= kept
    found.well &= kept
    found.ill &= kept
