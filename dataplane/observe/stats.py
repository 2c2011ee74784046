"""Statistics of the node: sums over its workers. Nothing is lost when a worker ends.

A worker's STATS frame is a JSON object: what was counted since the last frame, the breakers that changed since then (a
list of the fields of CircuitStats each), the emptiest rate limit buckets (of BucketStats) and the current number of
connections. Times are Unix seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from dataplane.config.reports import (
    BucketStats,
    CertificateReport,
    CircuitStats,
    StatsReport,
    TrafficStats,
)
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.observe.http_series import HttpSeries, SeriesKey
from dataplane.observe.obeyed import ObeyedResets

LATENCY_BOUNDS: tuple[float, ...] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Upper bounds of the latency histogram, in seconds."""
STATUS_CLASSES = ("none", *(f"{digit}xx" for digit in range(1, 10)))
"""By the first digit of the status; "none" when the client left before there was one."""
MAX_BUCKETS = 100
"""Most rate limit buckets in a report."""
MAX_AWAY = 1000
"""Most limits without an owner, or without Redis, taken from one worker."""
MAX_EJECTED = 10_000
"""Most ejected instances taken from one worker."""
MAX_INSTANCES = 10_000
"""Most instances whose requests are counted between two reports on the traffic."""
_NOTHING: Mapping[str, object] = {}
_WORSE = {"closed": 0, "half_open": 1, "open": 2}


class Seen(NamedTuple):
    """A request that was traced, as an exemplar of its duration."""

    key: SeriesKey
    seconds: float
    trace: str
    """Ids of its trace and of its SERVER span, hexadecimal."""
    span: str
    at: float
    """Unix time of its end."""


@dataclass(slots=True)
class Totals:
    """Sums over every worker since the start of the node, for the routes and services of the table."""

    total_requests: int = 0
    """All requests, including those of removed routes."""
    requests: dict[str, list[int]] = field(default_factory=dict)
    """By route, then by STATUS_CLASSES; "" for requests that matched none."""
    latency: dict[str, list[float]] = field(default_factory=dict)
    """By service: counts per LATENCY_BOUNDS and one above, then the sum of seconds."""
    refusals: dict[tuple[str, str], int] = field(default_factory=dict)
    """By route and decision."""
    upstream_errors: dict[tuple[str, str], int] = field(default_factory=dict)
    """By service and decision."""
    retries: dict[str, int] = field(default_factory=dict)
    """Attempts after the first, by service."""
    mirrored: dict[str, int] = field(default_factory=dict)
    """Copies of requests that were sent, by service."""
    mirror_failed: dict[str, int] = field(default_factory=dict)
    """Those of them that got no answer, by service."""
    mirror_dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    """Copies that were not sent, by service and reason."""
    shadowed: dict[str, int] = field(default_factory=dict)
    """Requests that a limit would have refused, were it enforced, by limit."""
    admitted: dict[str, float] = field(default_factory=dict)
    """Tokens that requests took, by limit: of those that are leased."""
    limited: dict[str, int] = field(default_factory=dict)
    """Requests that a limit refused, by limit."""
    unanswered: dict[str, int] = field(default_factory=dict)
    """Requests whose limit Redis did not answer for, by limit."""
    telemetry_drops: dict[str, int] = field(default_factory=dict)
    """Spans and log records that workers could not hand over, by signal."""
    exemplars: dict[str, dict[int, Seen]] = field(default_factory=dict)
    """By service and bucket of `latency`: the last request that was traced."""
    compressed: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By route and content coding: responses, and their bytes before and after."""
    authorizations: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By route and result: decisions of services that were asked, and the seconds that requests waited for them."""
    access_log_drops: int = 0
    connections_refused: int = 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Add the counters of one worker's frame."""
        for name, counts in report["requests"].items():
            _add_all(self.requests, name, [int(count) for count in counts], len(STATUS_CLASSES))
            self.total_requests += sum(counts)
        for name, counts in report["latency"].items():
            _add_all(self.latency, name, [float(count) for count in counts], len(LATENCY_BOUNDS) + 2)
        for route, decision, count in report["refusals"]:
            self.refusals[route, decision] = self.refusals.get((route, decision), 0) + int(count)
        for service, decision, count in report["upstream_errors"]:
            before = self.upstream_errors.get((service, decision), 0)
            self.upstream_errors[service, decision] = before + int(count)
        for service, count in report.get("retries", {}).items():
            self.retries[service] = self.retries.get(service, 0) + int(count)
        for service, count in report.get("mirrored", {}).items():
            self.mirrored[service] = self.mirrored.get(service, 0) + int(count)
        for service, count in report.get("mirror_failed", {}).items():
            self.mirror_failed[service] = self.mirror_failed.get(service, 0) + int(count)
        for service, reason, count in report.get("mirror_dropped", ()):
            dropped = self.mirror_dropped.get((service, reason), 0)
            self.mirror_dropped[service, reason] = dropped + int(count)
        for limit, count in report.get("shadowed", {}).items():
            self.shadowed[limit] = self.shadowed.get(limit, 0) + int(count)
        for limit, count in report.get("admitted", {}).items():
            self.admitted[limit] = self.admitted.get(limit, 0.0) + float(count)
        for limit, count in report.get("limited", {}).items():
            self.limited[limit] = self.limited.get(limit, 0) + int(count)
        for limit, count in report.get("unanswered", {}).items():
            self.unanswered[limit] = self.unanswered.get(limit, 0) + int(count)
        for key, seconds, trace, span, at in report.get("exemplars", ()):
            seen = Seen(SeriesKey(*key), float(seconds), str(trace), str(span), float(at))
            bucket = bisect_left(LATENCY_BOUNDS, seen.seconds)
            self.exemplars.setdefault(seen.key.service, {})[bucket] = seen
        for signal, count in report.get("telemetry_dropped", {}).items():
            self.telemetry_drops[signal] = self.telemetry_drops.get(signal, 0) + int(count)
        for route, coding, *counts in report.get("compressed", ()):
            _add_all(self.compressed, (str(route), str(coding)), [int(count) for count in counts], 3)
        for route, result, *waits in report.get("authorizations", ()):
            _add_all(self.authorizations, (str(route), str(result)), [float(one) for one in waits], 2)
        self.access_log_drops += int(report["access_log_drops"])
        self.connections_refused += int(report.get("connections_refused", 0))

    def keep(self, services: Container[str], routes: Container[str], limits: Container[str]) -> None:
        """Drop the counters of services, routes and limits that no longer exist."""
        _keep(self.requests, lambda name: not name or name in routes)
        _keep(self.refusals, lambda key: not key[0] or key[0] in routes)
        _keep(self.latency, lambda name: name in services)
        _keep(self.exemplars, lambda name: name in services)
        _keep(self.retries, lambda name: name in services)
        _keep(self.mirrored, lambda name: name in services)
        _keep(self.mirror_failed, lambda name: name in services)
        _keep(self.mirror_dropped, lambda key: key[0] in services)
        _keep(self.shadowed, lambda name: name in limits)
        _keep(self.admitted, lambda name: name in limits or name.startswith(BUILTIN))
        _keep(self.limited, lambda name: name in limits or name.startswith(BUILTIN))
        _keep(self.unanswered, lambda name: name in limits or name.startswith(BUILTIN))
        _keep(self.upstream_errors, lambda key: key[0] in services)
        _keep(self.compressed, lambda key: key[0] in routes)
        _keep(self.authorizations, lambda key: key[0] in routes)


K = TypeVar("K")


def _keep(counters: dict[K, Any], known: Callable[[K], bool]) -> None:
    for key in [key for key in counters if not known(key)]:
        del counters[key]


def _add_all(into: dict[K, list[Any]], key: K, counts: list[Any], length: int) -> None:
    if len(counts) != length:
        raise ValueError(f"{len(counts)} counters instead of {length}")
    known = into.get(key)
    into[key] = counts if known is None else [a + b for a, b in zip(known, counts, strict=True)]


class NodeStats:
    """The statistics of all workers."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.resets = ObeyedResets()
        self.http = HttpSeries()
        self._services: Mapping[str, object] = {}
        self._routes: Mapping[str, object] = {}
        self._limits: Mapping[str, object] = _NOTHING
        self._quiet: dict[str, CircuitStats] = {}
        """For every service, the breaker that no worker has reported yet."""
        self._circuits: dict[int, dict[str, CircuitStats]] = {}
        self._buckets: dict[int, list[BucketStats]] = {}
        self._connections: dict[int, int] = {}
        self._in_flight: dict[int, int] = {}
        self._active: dict[int, list[tuple[str, str, int]]] = {}
        self._ejected: dict[int, list[str]] = {}
        self._away: dict[int, list[str]] = {}
        self._by_instance: dict[tuple[str, str], list[int]] = {}
        self._past: dict[str, CircuitStats] = {}
        """Counters of workers that ended."""

    @property
    def connections(self) -> int:
        """Client connections that are open."""
        return sum(self._connections.values())

    @property
    def in_flight(self) -> int:
        """Forwarded requests that have not ended."""
        return sum(self._in_flight.values())

    def active(self) -> dict[tuple[str, str], int]:
        """Requests that are being answered, by method and scheme; counted only for OpenTelemetry."""
        found: Counter[tuple[str, str]] = Counter()
        for counts in self._active.values():
            for method, scheme, count in counts:
                found[method, scheme] += count
        return dict(found)

    def ejected(self) -> dict[str, int]:
        """How many workers have ejected an instance, by "<service>/<id>"."""
        return dict(sorted(Counter(name for names in self._ejected.values() for name in names).items()))

    def take_instances(self) -> dict[tuple[str, str], list[int]]:
        """Requests since the last call by service and instance, and those of them with a status from 500."""
        found, self._by_instance = self._by_instance, {}
        return found

    def take(self, worker: int, report: Mapping[str, Any]) -> None:
        """Add a worker's frame. Raises LookupError, TypeError or ValueError for an invalid one."""
        circuits = [_circuit(*circuit) for circuit in report["circuits"]]
        self._buckets[worker] = [_bucket(*bucket) for bucket in report["buckets"][:MAX_BUCKETS]]
        self._connections[worker] = int(report["connections"])
        self._in_flight[worker] = int(report.get("in_flight", 0))
        self._active[worker] = [(str(m), str(s), int(count)) for m, s, count in report.get("active", ())]
        self.http.add(report.get("http", ()))
        self._ejected[worker] = [str(instance) for instance in report["ejected"][:MAX_EJECTED]]
        self._away[worker] = [str(limit) for limit in report.get("away", ())[:MAX_AWAY]]
        self._circuits.setdefault(worker, {}).update((circuit.service, circuit) for circuit in circuits)
        self._count_instances(report.get("instances", ()))
        self.totals.add(report)

    def _count_instances(self, reports: Iterable[Any]) -> None:
        known = self._by_instance
        for service, identity, requests, errors in reports:
            key = str(service), str(identity)
            counts = known.get(key)
            if counts is not None:
                counts[0] += int(requests)
                counts[1] += int(errors)
            elif len(known) < MAX_INSTANCES:
                known[key] = [int(requests), int(errors)]

    def end(self, worker: int) -> None:
        """A worker has ended: its breakers and buckets are gone, its counters stay."""
        self._buckets.pop(worker, None)
        self._connections.pop(worker, None)
        self._in_flight.pop(worker, None)
        self._active.pop(worker, None)
        self._ejected.pop(worker, None)
        self._away.pop(worker, None)
        for name, circuit in self._circuits.pop(worker, {}).items():
            ended = CircuitStats(name, "closed")
            self._past[name] = _summed(self._past.get(name, ended), circuit, ended)

    def keep(
        self,
        services: Mapping[str, object],
        routes: Mapping[str, object],
        limits: Mapping[str, object] = _NOTHING,
    ) -> None:
        """Drop the counters of services, routes and limits that the table does not have. Call it once a second.

        Cheap while the table is the same and workers report only what is in it.
        """
        if services is not self._services:
            self._quiet = {name: CircuitStats(name) for name in services if not name.startswith(BUILTIN)}
        elif routes is self._routes and limits is self._limits and not self._unknown():
            return
        self._services, self._routes, self._limits = services, routes, limits
        for circuits in (self._past, *self._circuits.values()):
            _keep(circuits, lambda name: name in services)
        self.totals.keep(services, routes, limits)

    def _unknown(self) -> bool:
        """Whether there are counters for names that the table does not have: a worker may report removed ones."""
        reported = max(
            len(self._past),
            len(self.totals.latency),
            len(self.totals.retries),
            *map(len, self._circuits.values()),
        )
        return reported > len(self._services) or len(self.totals.requests) > len(self._routes) + 1

    def circuits(self) -> tuple[CircuitStats, ...]:
        """Each service's breaker over all workers: the worst state and its reason, the summed counters."""
        merged = self._quiet | self._past
        for circuits in self._circuits.values():
            for name, circuit in circuits.items():
                known = merged.get(name)
                merged[name] = circuit if known is None else _summed(known, circuit, _worse(known, circuit))
        return tuple(merged[name] for name in sorted(merged))

    def buckets(self) -> tuple[BucketStats, ...]:
        """Each caller's bucket over all workers, the emptiest first, bounded."""
        merged: dict[tuple[str, str], BucketStats] = {}
        for buckets in self._buckets.values():
            for bucket in buckets:
                known = merged.get((bucket.name, bucket.key))
                if known is None:
                    merged[bucket.name, bucket.key] = bucket
                    continue
                merged[bucket.name, bucket.key] = _joined(known, bucket)
        return tuple(_some_of_each(merged.values(), MAX_BUCKETS))

    def away(self) -> dict[str, int]:
        """How many workers are without the owner of a limit, or without Redis, by limit."""
        return dict(sorted(Counter(name for names in self._away.values() for name in names).items()))

    def report(
        self,
        at: float,
        traffic: TrafficStats | None = None,
        certificates: tuple[CertificateReport, ...] = (),
    ) -> StatsReport:
        """The report to the control plane, at Unix time `at`."""
        counted = self.totals.total_requests, self.circuits(), self.buckets()
        return StatsReport(at, *counted, self.resets.obeyed, traffic, certificates)


def _circuit(
    service: Any, state: Any, changed: Any, total: Any, failed: Any, rejected: Any, recent: Any, reason: Any
) -> CircuitStats:
    if state not in _WORSE:
        raise ValueError(f"circuit in state {state!r}")
    counts = int(total), int(failed), int(rejected), int(recent)
    return CircuitStats(str(service), str(state), float(changed), *counts, str(reason))


def _bucket(
    name: Any,
    key: Any,
    remaining: Any,
    refused: Any,
    place: Any = "worker",
    held: Any = 0.0,
    away: Any = False,
) -> BucketStats:
    left = float(remaining), int(refused)
    return BucketStats(str(name), str(key), *left, str(place), float(held), bool(away))


def _joined(one: BucketStats, other: BucketStats) -> BucketStats:
    """The same bucket as two workers see it."""
    held = one.held + other.held
    match one.place:
        case "redis":
            remaining = min(one.remaining, other.remaining)
        case "worker":
            remaining = one.remaining + other.remaining
        case _:
            # The owner's pool is the same for both, as of their last answers.
            remaining = held + min(one.remaining - one.held, other.remaining - other.held)
    refused, away = one.refused + other.refused, one.away or other.away
    return replace(one, remaining=remaining, refused=refused, held=held, away=away)


def _some_of_each(buckets: Iterable[BucketStats], most: int) -> list[BucketStats]:
    """The emptiest first; some of each limit, if there are not too many limits."""
    by_limit: dict[str, list[BucketStats]] = {}
    for bucket in sorted(buckets, key=lambda bucket: (bucket.remaining, bucket.name, bucket.key)):
        by_limit.setdefault(bucket.name, []).append(bucket)
    few = most // (2 * max(1, len(by_limit)))
    some = [bucket for each in by_limit.values() for bucket in each[:few]]
    rest = [bucket for each in by_limit.values() for bucket in each[few:]]
    rest.sort(key=lambda bucket: bucket.remaining)
    some += rest[: most - len(some)]
    return sorted(some, key=lambda bucket: (bucket.remaining, bucket.name, bucket.key))


def _worse(one: CircuitStats, other: CircuitStats) -> CircuitStats:
    """The worse state; of two equal ones the later."""
    if (_WORSE[one.state], one.last_state_change) >= (_WORSE[other.state], other.last_state_change):
        return one
    return other


def _summed(one: CircuitStats, other: CircuitStats, state: CircuitStats) -> CircuitStats:
    """The counters of both, in the state of the third."""
    return replace(
        state,
        total_requests=one.total_requests + other.total_requests,
        failed_requests=one.failed_requests + other.failed_requests,
        rejected_requests=one.rejected_requests + other.rejected_requests,
        recent_failures=0
        if state is not one and state is not other
        else one.recent_failures + other.recent_failures,
    )
