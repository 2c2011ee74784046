"""Drops what a data plane reports about resources of other pools: it cannot know them, and must not speak for them.

Resources that are not published here are let pass, as without pools: another control plane may have sent them already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.fleet.reports import CertificateReport, InstanceHealth, StatsReport, TrafficReport
from controlplane.fleet.verdicts import InstanceName
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.resources import Certificate, RateLimit, ResourceId, Route, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped

_NOTHING: Mapping[ResourceId, Stamped] = {}


class OwnReports:
    """The reports of data planes of one pool, by the published configuration."""

    def __init__(self, whole: Snapshot | None, pool: str) -> None:
        self.pool = pool
        self._whole = whole.resources if whole is not None else _NOTHING
        part = whole.extract(pool) if whole is not None else None
        self._part = part.resources if part is not None else _NOTHING
        self._everything = self._whole is self._part or (whole is None and pool == DEFAULT_POOL)

    def has(self, kind: str, name: str) -> bool:
        """Whether the pool may speak of a resource."""
        if self._everything:
            return True
        return (kind, name) in self._part or (kind, name) not in self._whole

    def health(self, found: list[InstanceHealth]) -> list[InstanceHealth]:
        """Votes on instances."""
        if self._everything:
            return found
        return [one for one in found if self.has(Service.KIND, one.service_name)]

    def leaving(self, requests: Mapping[InstanceName, int]) -> Mapping[InstanceName, int]:
        """Requests under way at instances that take no new ones."""
        if self._everything:
            return requests
        return {name: number for name, number in requests.items() if self.has(Service.KIND, name[0])}

    def stats(self, found: StatsReport) -> StatsReport:
        """Breakers, buckets, traffic, and certificates in files."""
        if self._everything:
            return found
        return replace(
            found,
            circuits=tuple(one for one in found.circuits if self.has(Service.KIND, one.service_name)),
            rate_limits=tuple(one for one in found.rate_limits if self.has(RateLimit.KIND, one.name)),
            traffic=self._traffic(found.traffic) if found.traffic is not None else None,
            certificates=self.certificates(found.certificates),
        )

    def certificates(
        self, found: tuple[CertificateReport, ...] | None
    ) -> tuple[CertificateReport, ...] | None:
        """Certificates in files."""
        if found is None or self._everything:
            return found
        return tuple(one for one in found if self.has(Certificate.KIND, one.name))

    def _traffic(self, found: TrafficReport) -> TrafficReport:
        return replace(
            found,
            routes=tuple(one for one in found.routes if self.has(Route.KIND, one.name)),
            services=tuple(one for one in found.services if self.has(Service.KIND, one.name)),
        )
