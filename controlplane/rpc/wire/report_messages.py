"""Messages of data planes, converted to the control plane's own types. Bounded and harmless whatever they contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from controlplane.distribute.subscriber import Mark
from controlplane.fleet.bounds import LONGEST_NAME, LONGEST_TEXT, count, name, number, text, time
from controlplane.fleet.reports import (
    MOST_RESETS,
    CertificateReport,
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    LimitPlace,
    NodeProblem,
    RateLimitReport,
    ResetReport,
    Resets,
    StatsReport,
)
from controlplane.model.lineage import Lineage
from controlplane.rpc.wire import traffic_messages
from controlplane.rpc.wire.limit_messages import PLACES
from headgate_api.v1 import config_pb2, peers_pb2, status_pb2

MOST_PROBLEMS = 100
MOST_BUCKETS = 100
MOST_CERTIFICATES = 10_000
MOST_LIMITS = 1000
"""Most names of limits that had a bucket to reset."""
MOST_REPORTS = 50_000
SLICE = 500

# Unlisted values come from a newer data plane: they are read as the weakest known value.
_STATUS: Mapping[int, InstanceStatus] = {
    status_pb2.INSTANCE_STATUS_HEALTHY: InstanceStatus.HEALTHY,
    status_pb2.INSTANCE_STATUS_UNHEALTHY: InstanceStatus.UNHEALTHY,
    status_pb2.INSTANCE_STATUS_DRAINING: InstanceStatus.DRAINING,
}
_STATES: Mapping[int, CircuitState] = {
    status_pb2.CIRCUIT_STATE_OPEN: CircuitState.OPEN,
    status_pb2.CIRCUIT_STATE_HALF_OPEN: CircuitState.HALF_OPEN,
}

_PLACES = {word: place for place, word in PLACES.items()}


def problems(
    refusal: config_pb2.Nack | config_pb2.Refused | peers_pb2.PeerRejection,
) -> tuple[NodeProblem, ...]:
    """The reason a table was refused."""
    return tuple(
        NodeProblem(text(problem.resource), text(problem.field), text(problem.detail))
        for problem in refusal.problems[:MOST_PROBLEMS]
    )


def mark(refused: config_pb2.Refused) -> Mark | None:
    """The configuration that a node cannot use; None when it names nothing."""
    if not refused.revision or not refused.digest:
        return None
    return Mark(refused.revision, refused.digest[:64], lineage(refused.lineage))


def lineage(sent: config_pb2.Lineage) -> Lineage:
    """The store that a node's configuration came from."""
    return Lineage(sent.id[:64], sent.epoch)


def slices(report: status_pb2.HealthReport) -> list[list[status_pb2.InstanceHealth]]:
    """The instances of a report in parts, one at least, that take a millisecond or so each."""
    listed = list(report.instances[:MOST_REPORTS])
    return [listed[start : start + SLICE] for start in range(0, len(listed) or 1, SLICE)]


def unknown(instances: Iterable[status_pb2.InstanceHealth]) -> list[tuple[str, str]]:
    """Instances that it no longer knows."""
    return [
        (name(one.service_name), name(one.instance_id))
        for one in instances
        if one.status == status_pb2.INSTANCE_STATUS_UNSPECIFIED
    ]


def health(instances: Iterable[status_pb2.InstanceHealth]) -> list[InstanceHealth]:
    """One data plane's votes on the instances that it knows. Thousands come at once, so calls are avoided."""
    return [
        InstanceHealth(
            one.service_name[:LONGEST_NAME],
            one.instance_id[:LONGEST_NAME],
            _STATUS.get(status, InstanceStatus.STARTING),
            time(one.last_check),
            one.reason[:LONGEST_TEXT],
        )
        for one in instances
        if (status := one.status) != status_pb2.INSTANCE_STATUS_UNSPECIFIED
    ]


def leaving(instances: Iterable[status_pb2.InFlight]) -> Mapping[tuple[str, str], int]:
    """Requests under way at instances that take no new ones, by service and id."""
    listed = islice(instances, MOST_REPORTS)
    return {(name(one.service_name), name(one.instance_id)): one.requests for one in listed if one.requests}


def stats(report: status_pb2.StatsReport) -> StatsReport:
    """One data plane's counters."""
    return StatsReport(
        time(report.at),
        report.total_requests,
        tuple(circuit(one) for one in report.circuits[:MOST_REPORTS]),
        tuple(_bucket(one) for one in report.rate_limits[:MOST_BUCKETS]),
        resets(report.resets),
        traffic_messages.traffic(report.traffic) if report.HasField("traffic") else None,
        certificates(report.certificates.certificates) if report.HasField("certificates") else None,
    )


def certificates(sent: Sequence[status_pb2.CertificateReport]) -> tuple[CertificateReport, ...]:
    """The certificates that a data plane reads from files."""
    return tuple(
        CertificateReport(one.name[:LONGEST_TEXT], time(one.not_after), text(one.problem))
        for one in sent[:MOST_CERTIFICATES]
    )


def certificate_messages(known: Iterable[CertificateReport]) -> Iterator[status_pb2.CertificateReport]:
    """The inverse, for other control planes."""
    return (status_pb2.CertificateReport(**one._asdict()) for one in known)


def resets(sent: Sequence[status_pb2.ResetReport]) -> Resets:
    """Orders that a data plane has obeyed."""
    return {
        count(one.revision): ResetReport(_names(one.limits), _names(one.shared), _names(one.unreached))
        for one in sent[-MOST_RESETS:]
    }


def _names(sent: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(name, sent[:MOST_LIMITS]))


def circuit(report: status_pb2.CircuitReport) -> CircuitReport:
    """One breaker of one data plane."""
    return CircuitReport(
        name(report.service_name),
        _STATES.get(report.state, CircuitState.CLOSED),
        time(report.last_state_change),
        report.total_requests,
        report.failed_requests,
        report.rejected_requests,
        report.recent_failures,
        text(report.reason),
    )


def _bucket(report: status_pb2.RateLimitReport) -> RateLimitReport:
    return RateLimitReport(
        text(report.name),
        text(report.key),
        number(report.remaining),
        report.refused,
        _PLACES.get(report.place, LimitPlace.UNKNOWN),
        number(report.held),
        report.away,
    )


def bucket_messages(reports: Iterable[RateLimitReport]) -> Iterator[status_pb2.RateLimitReport]:
    """The inverse, for other control planes."""
    for one in reports:
        yield status_pb2.RateLimitReport(
            name=one.name,
            key=one.key,
            remaining=one.remaining,
            refused=one.refused,
            place=PLACES[one.place],
            held=one.held,
            away=one.away,
        )


def reset_messages(obeyed: Resets) -> Iterator[status_pb2.ResetReport]:
    """The inverse of `resets`."""
    for revision, one in obeyed.items():
        yield status_pb2.ResetReport(
            revision=revision, limits=one.limits, shared=one.shared, unreached=one.unreached
        )
