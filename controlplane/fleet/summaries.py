"""What one control plane tells the others of its data planes: the states of its nodes in one bounded value. Pure.

JSON, compressed. Lists in place of objects keep it small; fields may be added at the end of a list, and a reader that
does not know them passes them over.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from typing import Any

from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    NodeState,
    RateLimitReport,
    Rejection,
    StatsReport,
)

MOST_BYTES = 512 * 1024
"""A summary above this leaves out first the buckets of limits, then circuits and health."""
_MOST_JSON = 64 << 20


def encode(nodes: Collection[NodeState], most: int = MOST_BYTES) -> bytes:
    """The value; shortened until it fits into `most` bytes, if it can."""
    for detail in (2, 1, 0):
        listed = [_node(node, detail) for node in nodes]
        value = zlib.compress(json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode(), 1)
        if len(value) <= most:
            break
    return value


def decode(value: bytes) -> tuple[NodeState, ...]:
    """What `encode` was given, as far as it was told. Raises ValueError for anything else."""
    if not value:
        return ()
    try:
        inflate = zlib.decompressobj()
        listed = json.loads(inflate.decompress(value, _MOST_JSON))
        return tuple(_read(*fields[:12]) for fields in listed)
    except (ValueError, TypeError, KeyError, zlib.error, RecursionError) as error:
        raise ValueError(f"is not a summary: {error}") from None


def essence(nodes: Collection[NodeState]) -> int:
    """Changes with everything that somebody may wait for; not with counters and times."""
    return hash(tuple(_essentials(nodes)))


def _essentials(nodes: Collection[NodeState]) -> Iterator[object]:
    for node in nodes:
        yield (
            node.node,
            node.connected,
            node.since,
            node.applied_revision,
            node.digest,
            node.health_revision,
        )
        yield node.last_rejection and node.last_rejection.at
        yield tuple(sorted(node.leaving.items()))
        yield tuple((one.service_name, one.instance_id, one.status) for one in node.health)
        yield tuple((one.service_name, one.state) for one in node.stats.circuits)


def _node(node: NodeState, detail: int) -> list[Any]:
    return [
        node.node,
        node.version,
        node.connected,
        node.since,
        node.sent_revision,
        node.applied_revision,
        node.digest,
        node.last_seen,
        _rejection(node.last_rejection),
        [[*name, count] for name, count in node.leaving.items()],
        [node.health_revision, list(map(_health, node.health)) if detail else []],
        _stats(node.stats, detail),
    ]


def _rejection(rejection: Rejection | None) -> list[Any] | None:
    if rejection is None:
        return None
    problems = [[one.resource, one.field, one.detail] for one in rejection.problems[:20]]
    return [rejection.revision, rejection.at, rejection.digest, problems]


def _health(one: InstanceHealth) -> list[Any]:
    # Whole seconds: fractions would be half of a large summary.
    return [one.service_name, one.instance_id, one.status, round(one.last_check), one.reason]


def _stats(stats: StatsReport, detail: int) -> list[Any]:
    circuits = [
        [
            one.service_name,
            one.state,
            one.last_state_change,
            one.total_requests,
            one.failed_requests,
            one.rejected_requests,
            one.recent_failures,
            one.reason,
        ]
        for one in stats.circuits
        if detail
    ]
    buckets = [
        [one.name, one.key, round(one.remaining, 3), one.refused] for one in stats.rate_limits if detail > 1
    ]
    return [stats.at, stats.total_requests, circuits, buckets]


def _read(
    node: str,
    version: str,
    connected: bool,
    since: float,
    sent: int,
    applied: int,
    digest: str,
    last_seen: float,
    rejection: list[Any] | None,
    leaving: list[Any],
    health: list[Any],
    stats: list[Any],
) -> NodeState:
    return NodeState(
        node=str(node),
        version=str(version),
        connected=bool(connected),
        since=float(since),
        sent_revision=int(sent),
        applied_revision=int(applied),
        digest=str(digest),
        last_seen=float(last_seen),
        last_rejection=_read_rejection(*rejection[:4]) if rejection else None,
        leaving={(service, instance): int(count) for service, instance, count in leaving},
        health_revision=int(health[0]),
        health=tuple(_read_health(*one[:5]) for one in health[1]),
        stats=_read_stats(*stats[:4]),
    )


def _read_rejection(revision: int, at: float, digest: str, problems: list[Any]) -> Rejection:
    listed = tuple(NodeProblem(*map(str, problem[:3])) for problem in problems)
    return Rejection(int(revision), listed, float(at), str(digest))


def _read_health(service: str, instance: str, status: str, last_check: float, reason: str) -> InstanceHealth:
    return InstanceHealth(service, instance, InstanceStatus(status), float(last_check), str(reason))


def _read_stats(at: float, total: int, circuits: list[Any], buckets: list[Any]) -> StatsReport:
    return StatsReport(
        float(at),
        int(total),
        tuple(CircuitReport(one[0], CircuitState(one[1]), *one[2:8]) for one in circuits),
        tuple(RateLimitReport(*one[:4]) for one in buckets),
    )
