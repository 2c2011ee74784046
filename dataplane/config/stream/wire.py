"""Builds the protobuf messages that a data plane sends on the config stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from dataplane.config.reports import (
    CertificateReport,
    InstanceHealth,
    InstanceStatus,
    NodeState,
    StatsReport,
    TrafficStats,
)
from dataplane.config.table import Problem
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import status_pb2

MAX_PROBLEMS = 100
"""Most problems listed in one nack."""

CAPABILITIES = (
    "reports.changes",
    "messages.parts",
    "services.tls",
    "limits.full",
    "limits.fleet",
    "limits.redis",
    "reports.resets",
    "questions",
    "instances.unix",
    "routes.matches",
    "listeners",
    "routes.forwarding",
    "routes.edits",
    "listeners.https",
    "certificates.keys",
    "routes.access",
    "routes.authorization",
    "certificates.files",
)
"""Capabilities of this data plane beyond the first version of the protocol; see `Hello`."""
REDIS_CONFIGURED = "redis.configured"
"""One that depends on the settings."""

_STATUS = {
    InstanceStatus.STARTING: status_pb2.INSTANCE_STATUS_STARTING,
    InstanceStatus.HEALTHY: status_pb2.INSTANCE_STATUS_HEALTHY,
    InstanceStatus.UNHEALTHY: status_pb2.INSTANCE_STATUS_UNHEALTHY,
    InstanceStatus.DRAINING: status_pb2.INSTANCE_STATUS_DRAINING,
}
_STATE = {
    "closed": status_pb2.CIRCUIT_STATE_CLOSED,
    "half_open": status_pb2.CIRCUIT_STATE_HALF_OPEN,
    "open": status_pb2.CIRCUIT_STATE_OPEN,
}
_PLACE = {
    "worker": status_pb2.LIMIT_PLACE_WORKER,
    "node": status_pb2.LIMIT_PLACE_NODE,
    "fleet": status_pb2.LIMIT_PLACE_FLEET,
    "redis": status_pb2.LIMIT_PLACE_REDIS,
}


def hello(state: NodeState, refused: pb.Refused | None = None) -> pb.StreamRequest:
    """The first message of a stream. `refused`: the configuration that need not be sent again."""
    lineage = pb.Lineage(id=state.lineage, epoch=state.epoch)
    return pb.StreamRequest(
        hello=pb.Hello(
            node=state.node,
            version=state.version,
            revision=state.revision,
            digest=state.digest,
            leaving=_in_flight(state.leaving),
            lineage=lineage,
            takes_deltas=True,
            capabilities=(*CAPABILITIES, REDIS_CONFIGURED) if state.redis else CAPABILITIES,
            refused=refused,
        )
    )


def refusal_of(received: pb.Snapshot | pb.Delta) -> pb.Refused:
    """The name of this configuration in a hello once it is rejected."""
    return pb.Refused(revision=received.revision, digest=received.digest, lineage=received.lineage)


def position(one: pb.Refused) -> tuple[int, int]:
    """Epoch and revision: greater for a later configuration."""
    return one.lineage.epoch, one.revision


def leaving_report(requests: Mapping[str, int]) -> pb.StreamRequest:
    """Requests in flight, by "<service>/<instance>", at instances that take no new ones."""
    return pb.StreamRequest(leaving=status_pb2.LeavingReport(instances=_in_flight(requests)))


def _in_flight(requests: Mapping[str, int]) -> list[status_pb2.InFlight]:
    parts = ((name.partition("/"), count) for name, count in requests.items())
    return [
        status_pb2.InFlight(service_name=service, instance_id=instance, requests=count)
        for (service, _, instance), count in parts
    ]


def nack(revision: int, problems: Iterable[Problem], *, mismatch: bool = False) -> pb.StreamRequest:
    """A rejection with at most MAX_PROBLEMS problems. `mismatch`: the base or digest of a delta did not match."""
    listed = [
        pb.Problem(resource=problem.resource, field=problem.field, detail=problem.detail)
        for problem in islice(problems, MAX_PROBLEMS)
    ]
    return pb.StreamRequest(nack=pb.Nack(revision=revision, problems=listed, mismatch=mismatch))


def health_report(instances: Iterable[InstanceHealth], revision: int = 0) -> pb.StreamRequest:
    """A full report: every instance, as seen while `revision` is served."""
    return pb.StreamRequest(health=status_pb2.HealthReport(instances=_found(instances), revision=revision))


def health_changes(
    instances: Iterable[InstanceHealth], gone: Iterable[tuple[str, str]], revision: int
) -> pb.StreamRequest:
    """Changes since the last report. `gone`: service and id of instances that no longer exist."""
    listed = _found(instances)
    listed += [status_pb2.InstanceHealth(service_name=name[0], instance_id=name[1]) for name in gone]
    report = status_pb2.HealthReport(instances=listed, revision=revision, changes=True)
    return pb.StreamRequest(health=report)


def _found(instances: Iterable[InstanceHealth]) -> list[status_pb2.InstanceHealth]:
    return [
        status_pb2.InstanceHealth(
            service_name=instance.service,
            instance_id=instance.id,
            status=_STATUS[instance.status],
            last_check=instance.last_check,
            reason=instance.reason,
        )
        for instance in instances
    ]


def stats_report(report: StatsReport, *, changes: bool = False) -> pb.StreamRequest:
    """Counters. With `changes`, circuits that are not listed are unchanged."""
    circuits = [
        status_pb2.CircuitReport(
            service_name=circuit.service,
            state=_STATE[circuit.state],
            last_state_change=circuit.last_state_change,
            total_requests=circuit.total_requests,
            failed_requests=circuit.failed_requests,
            rejected_requests=circuit.rejected_requests,
            recent_failures=circuit.recent_failures,
            reason=circuit.reason,
        )
        for circuit in report.circuits
    ]
    buckets = [
        status_pb2.RateLimitReport(
            name=bucket.name,
            key=bucket.key,
            remaining=bucket.remaining,
            refused=bucket.refused,
            place=_PLACE[bucket.place],
            held=bucket.held,
            away=bucket.away,
        )
        for bucket in report.buckets
    ]
    message = status_pb2.StatsReport(
        at=report.at,
        total_requests=report.total_requests,
        circuits=circuits,
        rate_limits=buckets,
        changes=changes,
        resets=[
            status_pb2.ResetReport(
                revision=one.revision, limits=one.limits, shared=one.shared, unreached=one.unreached
            )
            for one in report.resets
        ],
        traffic=_traffic(report.traffic) if report.traffic is not None else None,
        certificates=_certificates(report.certificates) if report.certificates is not None else None,
    )
    return pb.StreamRequest(stats=message)


def _certificates(reports: Iterable[CertificateReport]) -> status_pb2.CertificateReports:
    made = (status_pb2.CertificateReport(**one._asdict()) for one in reports)
    return status_pb2.CertificateReports(certificates=made)


def _traffic(traffic: TrafficStats) -> status_pb2.TrafficReport:
    return status_pb2.TrafficReport(
        seconds=traffic.seconds,
        requests=traffic.requests,
        client_errors=traffic.client_errors,
        server_errors=traffic.server_errors,
        routes=[
            status_pb2.RouteTraffic(
                name=one.name,
                requests=one.requests,
                client_errors=one.client_errors,
                server_errors=one.server_errors,
            )
            for one in traffic.routes
        ],
        services=[
            status_pb2.ServiceTraffic(name=one.name, latency=one.latency, errors=one.errors)
            for one in traffic.services
        ],
        bounds=traffic.bounds,
        in_flight=traffic.in_flight,
        connections=traffic.connections,
        memory_bytes=traffic.memory,
        refusals=[
            status_pb2.RefusalTraffic(
                route=one.route, service_name=one.service, decision=one.decision, requests=one.requests
            )
            for one in traffic.refusals
        ],
        limits=[
            status_pb2.LimitTraffic(name=one.name, refused=one.refused, shadowed=one.shadowed)
            for one in traffic.limits
        ],
        instances=[
            status_pb2.InstanceTraffic(
                service_name=one.service,
                instance_id=one.id,
                requests=one.requests,
                errors=one.errors,
                ejected_by=one.ejected_by,
            )
            for one in traffic.instances
        ],
    )
