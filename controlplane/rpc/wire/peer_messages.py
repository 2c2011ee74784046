"""State exchanged between control planes, to and from its messages. Bounded and harmless whatever they contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.fleet import bounds
from controlplane.fleet.bounds import is_node
from controlplane.fleet.peer_updates import PeerUpdate
from controlplane.fleet.reports import CircuitReport, CircuitState, NodeState, Rejection, StatsReport
from controlplane.fleet.verdicts import InstanceName, Verdict
from controlplane.model.pool import DEFAULT_POOL
from controlplane.rpc.wire import report_messages, traffic_messages
from headgate_api.v1 import config_pb2, status_pb2
from headgate_api.v1 import peers_pb2 as pb

LARGE = 1 << 20
"""Bytes of one message, unless a single entry is larger."""
LARGEST_ENTRY = 24 << 20
"""Bytes that one entry has at most. A data plane's requests under way at leaving instances arrive in one message of up
to 16 MiB. The breakers of a service are those of some 3,000 data planes."""
MOST_PROBLEMS = 20
_STATES: Mapping[CircuitState, status_pb2.CircuitState.ValueType] = {
    CircuitState.CLOSED: status_pb2.CIRCUIT_STATE_CLOSED,
    CircuitState.OPEN: status_pb2.CIRCUIT_STATE_OPEN,
    CircuitState.HALF_OPEN: status_pb2.CIRCUIT_STATE_HALF_OPEN,
}


def messages(part: PeerUpdate, proof: bytes = b"") -> Iterator[pb.FollowResponse]:
    """A part as it is sent, in one message at least: the first with the proof, the last one complete if the part is."""
    message, size = pb.FollowResponse(proof=proof, removed_nodes=part.gone), 0
    for field, entry in _entries(part):
        more = entry.ByteSize()
        if size and size + more > LARGE:
            yield message
            message, size = pb.FollowResponse(), 0
        getattr(message, field).append(entry)
        size += more
    message.complete, message.looks, message.watches = part.complete, part.looks, part.watches
    yield message


def _entries(part: PeerUpdate) -> Iterator[tuple[str, Any]]:
    """The content of a part, with the name of its field."""
    for state in part.nodes:
        yield "nodes", _node(state)
    for name, found in part.votes:
        yield "votes", _votes(name, found)
    for service, by_node in part.circuits:
        listed = (_circuit(*one) for one in by_node.items())
        yield "circuits", pb.PeerCircuits(service_name=service, reports=listed)


def part(response: pb.FollowResponse) -> PeerUpdate:
    """The received update. Data planes that every control plane would have refused are left out."""
    return PeerUpdate(
        nodes=[_read_node(one) for one in response.nodes if is_node(one.node)],
        gone=list(response.removed_nodes),
        votes=[
            ((bounds.name(one.service_name), bounds.name(one.instance_id)), _read_votes(one))
            for one in response.votes
        ],
        circuits=[
            (
                bounds.name(one.service_name),
                {
                    each.node: report_messages.circuit(each.report)
                    for each in one.reports
                    if is_node(each.node)
                },
            )
            for one in response.circuits
        ],
        looks=response.looks,
        watches=response.watches,
        complete=response.complete,
    )


def _node(state: NodeState) -> pb.PeerNode:
    stats = status_pb2.StatsReport(
        at=state.stats.at,
        total_requests=state.stats.total_requests,
        rate_limits=report_messages.bucket_messages(state.stats.rate_limits),
        traffic=traffic_messages.message(state.stats.traffic) if state.stats.traffic else None,
    )
    leaving = (
        status_pb2.InFlight(service_name=service, instance_id=instance, requests=count)
        for (service, instance), count in state.leaving.items()
    )
    return pb.PeerNode(
        node=state.node,
        version=state.version,
        connected=state.connected,
        since=state.since,
        sent_revision=state.sent_revision,
        applied_revision=state.applied_revision,
        digest=state.digest,
        last_seen=state.last_seen,
        rejection=_rejection(state.last_rejection) if state.last_rejection is not None else None,
        leaving=leaving,
        health_revision=state.health_revision,
        slot=state.slot,
        stats=stats,
        resets=report_messages.reset_messages(state.resets),
        resets_unreported=state.resets_unreported,
        without_redis=state.without_redis,
        sent_at=state.sent_at,
        applied_at=state.applied_at,
        took=state.took,
        certificates=report_messages.certificate_messages(state.certificates),
        pool="" if state.pool == DEFAULT_POOL else state.pool,
    )


def _rejection(rejection: Rejection) -> pb.PeerRejection:
    problems = (
        config_pb2.Problem(resource=one.resource, field=one.field, detail=one.detail)
        for one in rejection.problems[:MOST_PROBLEMS]
    )
    return pb.PeerRejection(
        revision=rejection.revision,
        digest=rejection.digest,
        at=rejection.at,
        problems=problems,
        withheld=rejection.withheld,
    )


def _read_node(sent: pb.PeerNode) -> NodeState:
    counted = report_messages.stats(sent.stats)
    return NodeState(
        node=sent.node,
        version=sent.version[:64],
        connected=sent.connected,
        since=bounds.time(sent.since),
        sent_revision=bounds.count(sent.sent_revision),
        applied_revision=bounds.count(sent.applied_revision),
        digest=sent.digest[:64],
        last_seen=bounds.time(sent.last_seen),
        last_rejection=_read_rejection(sent.rejection) if sent.HasField("rejection") else None,
        slot=bounds.slot(sent.slot),
        health_revision=bounds.count(sent.health_revision),
        leaving=report_messages.leaving(sent.leaving),
        stats=StatsReport(
            counted.at, counted.total_requests, (), counted.rate_limits, traffic=counted.traffic
        ),
        resets=report_messages.resets(sent.resets),
        resets_unreported=sent.resets_unreported,
        without_redis=sent.without_redis,
        sent_at=bounds.time(sent.sent_at),
        applied_at=bounds.time(sent.applied_at),
        took=bounds.time(sent.took),
        certificates=report_messages.certificates(sent.certificates),
        pool=sent.pool[:64] or DEFAULT_POOL,
    )


def _read_rejection(sent: pb.PeerRejection) -> Rejection:
    problems = report_messages.problems(sent)
    return Rejection(
        bounds.count(sent.revision), problems, bounds.time(sent.at), sent.digest[:64], sent.withheld
    )


def _votes(name: InstanceName, found: Verdict) -> pb.PeerVotes:
    service, instance = name
    return pb.PeerVotes(
        service_name=service,
        instance_id=instance,
        known=_bytes(found.known),
        well=_bytes(found.well),
        ill=_bytes(found.ill),
        last_check=found.last_check,
        failed_at=found.failed_at,
        reason=found.reason,
    )


def _read_votes(sent: pb.PeerVotes) -> Verdict:
    known, well, ill = map(_bits, (sent.known, sent.well, sent.ill))
    seen = bounds.time(sent.last_check), bounds.time(sent.failed_at)
    return Verdict(known, well, ill, *seen, bounds.text(sent.reason))


def _bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _bits(sent: bytes) -> int:
    return int.from_bytes(sent[: bounds.MOST_SLOTS // 8], "little")


def _circuit(node: str, report: CircuitReport) -> pb.PeerCircuit:
    return pb.PeerCircuit(
        node=node,
        report=status_pb2.CircuitReport(
            service_name=report.service_name,
            state=_STATES[report.state],
            last_state_change=report.last_state_change,
            total_requests=report.total_requests,
            failed_requests=report.failed_requests,
            rejected_requests=report.rejected_requests,
            recent_failures=report.recent_failures,
            reason=report.reason,
        ),
    )
