"""Decides what to report on one stream: everything once, then changes, as the control plane asks. Pure.

A control plane of an older version asks for nothing and gets full reports.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from dataplane.config.reports import (
    CertificateReport,
    CircuitStats,
    InstanceHealth,
    InstanceStatus,
    StatsReport,
)
from dataplane.config.stream import wire
from headgate_api.v1 import config_pb2 as pb

LONGEST_PACE = 300.0
"""Longest interval between two reports that a control plane may ask for, in seconds."""
SHORTEST_TRAFFIC = 1.0
"""Shortest interval between two reports on the traffic."""


class Reporter:
    """Keeps the state last reported on this stream and the time of the next report. `now` is in monotonic seconds."""

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        """`random` spreads the reports of a fleet whose streams are all opened at once."""
        self._random = random
        self._reporting: pb.Reporting | None = None
        self._health: dict[tuple[str, str], InstanceHealth] | None = None
        """Health as last reported, by service and instance id; None before the first report."""
        self._revision = 0
        self._circuits: dict[str, CircuitStats] | None = None
        self._certificates: tuple[CertificateReport, ...] | None = ()
        """As last reported: none before the first report."""
        self._resets: set[int] = set()
        """Revisions of the orders that were reported."""
        self._due = 0.0
        """Time of the next report of counters."""

    @property
    def configured(self) -> bool:
        """Whether the control plane has sent a Reporting message."""
        return self._reporting is not None

    def configure(self, reporting: pb.Reporting, now: float) -> None:
        """Report as the control plane asks from now on."""
        self._reporting = reporting
        self._due = now + self._random() * self._pace

    @property
    def _pace(self) -> float:
        return min(max(self._reporting.pace, 0.0), LONGEST_PACE) if self._reporting else 0.0

    @property
    def traffic_every(self) -> float:
        """Seconds between two reports on the traffic; 0: none are asked for."""
        asked = self._reporting.traffic if self._reporting else 0.0
        return min(max(asked, SHORTEST_TRAFFIC), LONGEST_PACE) if asked > 0 else 0.0

    def health_report(self, view: Iterable[InstanceHealth], revision: int) -> pb.StreamRequest | None:
        """The report on the instances, as seen while `revision` was served; None when nothing changed."""
        seen = {(one.service, one.id): one for one in view}
        if self._reporting is None or self._health is None:
            self._health, self._revision = seen, revision
            return wire.health_report(seen.values(), revision)
        known, checks = self._health, self._reporting.checks
        news = {
            name: one
            for name, one in seen.items()
            if (before := known.get(name)) is not one and (before is None or _differs(before, one, checks))
        }
        gone = [name for name in known if name not in seen]
        if not news and not gone and revision == self._revision:
            return None
        known.update(news)
        for name in gone:
            del known[name]
        self._revision = revision
        return wire.health_changes(news.values(), gone, revision)

    def stats_report(self, stats: StatsReport, now: float) -> pb.StreamRequest | None:
        """The counters, if they are due, a circuit changed its state or an order was obeyed; otherwise None."""
        if self._reporting is None or self._circuits is None:
            self._circuits = {one.service: one for one in stats.circuits}
            self._resets = {one.revision for one in stats.resets}
            self._certificates = stats.certificates
            return wire.stats_report(stats)
        known, details, due = self._circuits, self._reporting.details, now >= self._due
        if due:
            self._due = now + self._pace
        changed = [
            one
            for one in stats.circuits
            if _state_changed(before := known.get(one.service), one)
            or (due and one != before and (details or one.state != "closed"))
        ]
        resets = tuple(one for one in stats.resets if one.revision not in self._resets)
        certificates = stats.certificates if stats.certificates != self._certificates else None
        if not due and not changed and not resets and stats.traffic is None and certificates is None:
            return None
        self._certificates = stats.certificates
        self._resets = {one.revision for one in stats.resets}
        known.update((one.service, one) for one in changed)
        buckets = stats.buckets if details else ()
        return wire.stats_report(
            replace(
                stats, circuits=tuple(changed), buckets=buckets, resets=resets, certificates=certificates
            ),
            changes=True,
        )


def _differs(before: InstanceHealth, one: InstanceHealth, checks: bool) -> bool:
    if one.status is not before.status:
        return True
    # A failing instance is reported again when the reason changes, not after every probe.
    failing = one.status is not InstanceStatus.HEALTHY and one.reason != before.reason
    return failing or (checks and one.last_check != before.last_check)


def _state_changed(before: CircuitStats | None, one: CircuitStats) -> bool:
    if before is None:
        return one.state != "closed"
    return one.state != before.state or one.last_state_change != before.last_state_change
