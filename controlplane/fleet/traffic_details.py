"""Refused and failed requests by reason, limits and instances, added up from the reports of data planes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.fleet.reports import TrafficReport

Reasons = Mapping[str, float]
"""Requests a second, by the decision about them."""


@dataclass(slots=True)
class LimitRates:
    """Requests a second that one limit refused."""

    refused: float = 0.0
    shadowed: float = 0.0
    """Those that it would have refused, were it enforced."""


@dataclass(slots=True)
class InstanceRates:
    """Requests a second of one instance."""

    requests: float = 0.0
    errors: float = 0.0
    """Those that were answered with a status from 500."""
    ejected_at: int = 0
    """Data planes with a worker that has ejected it."""


_ByName = defaultdict[str, defaultdict[str, float]]


def _by_name() -> _ByName:
    return defaultdict(lambda: defaultdict(float))


class Details:
    """Grows with every data plane that is added."""

    def __init__(self) -> None:
        self.refusals = _by_name()
        """By route; the empty name stands for requests without one."""
        self.failures = _by_name()
        """Requests that an instance did not answer properly, by service."""
        self.limits: defaultdict[str, LimitRates] = defaultdict(LimitRates)
        self.instances: defaultdict[str, dict[str, InstanceRates]] = defaultdict(dict)
        """By service, then by id."""

    @property
    def reasons(self) -> Reasons:
        """All requests that were not served."""
        found: dict[str, float] = defaultdict(float)
        for of in (*self.refusals.values(), *self.failures.values()):
            for decision, rate in of.items():
                found[decision] += rate
        return found

    @property
    def ejected(self) -> dict[str, int]:
        """Instances that a data plane has ejected, counted by service."""
        counts = {name: sum(one.ejected_at > 0 for one in of.values()) for name, of in self.instances.items()}
        return {name: count for name, count in counts.items() if count}

    def add(self, report: TrafficReport) -> None:
        """One data plane."""
        for route, service, decision, requests in report.refusals:
            by_reason = self.failures[service] if service else self.refusals[route]
            by_reason[decision] += requests / report.seconds
        for name, refused, shadowed in report.limits:
            limit = self.limits[name]
            limit.refused += refused / report.seconds
            limit.shadowed += shadowed / report.seconds
        for service, identity, requests, errors, ejected_by in report.instances:
            rates = self.instances[service].setdefault(identity, InstanceRates())
            rates.requests += requests / report.seconds
            rates.errors += errors / report.seconds
            rates.ejected_at += ejected_by > 0
