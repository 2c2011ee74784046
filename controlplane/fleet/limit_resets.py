"""The outcome of an order to refill the buckets of a key, over the fleet. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.fleet.reports import NodeState

RESET_WITHIN: Final = 5.0
"""Seconds in which data planes must report their resets, unless the caller sets another time."""


@dataclass(frozen=True, slots=True)
class ResetView:
    """As far as the connected data planes have answered."""

    revision: int
    """Revision of the order."""
    limits: Mapping[str, int]
    """Number of refilled buckets by limit: one for each data plane, or one that all share."""
    dataplanes: Mapping[str, int]
    """Refilled buckets that belong to one data plane alone, by node."""
    unreached: Sequence[str]
    """Limits in Redis that no data plane could reach."""
    waiting: Sequence[str]
    """Connected data planes that have not answered."""
    unreported: Sequence[str]
    """Connected data planes of older versions, which have obeyed the order but do not report the number of buckets."""

    @property
    def buckets(self) -> int:
        """Number of refilled buckets."""
        return sum(self.limits.values())

    @property
    def complete(self) -> bool:
        """Whether there are data planes, and all have obeyed."""
        return bool(self.dataplanes or self.unreported) and not self.waiting

    @property
    def found_none(self) -> bool:
        """Whether it is known that no bucket has the key."""
        return self.complete and not self.buckets and not self.unreached and not self.unreported


def reset_view(revision: int, states: Iterable[NodeState]) -> ResetView:
    """The outcome of the order of this revision."""
    connected = [state for state in states if state.connected]
    said = {state.node: state.resets[revision] for state in connected if revision in state.resets}
    limits = Counter[str]()
    for one in said.values():
        limits.update(one.limits)
    limits.update({name for one in said.values() for name in one.shared})
    # One data plane that reaches Redis is enough.
    unreached = set.intersection(*(set(one.unreached) for one in said.values())) if said else set()
    return ResetView(
        revision,
        dict(sorted(limits.items())),
        {node: len(one.limits) for node, one in said.items()},
        sorted(unreached),
        [state.node for state in connected if not state.has_reset(revision)],
        [state.node for state in connected if state.has_reset(revision) and state.node not in said],
    )
