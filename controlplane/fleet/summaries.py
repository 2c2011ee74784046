"""Summaries of a control plane's data planes for the other control planes: the states of its nodes in one bounded
value. Pure.

JSON, compressed. Lists in place of objects keep it small; fields may be added at the end of a list, and a reader that
does not know them passes them over. So the votes on instances, one list for all nodes, stand at the end of the first
node's list. Control planes before 0.2 sent them with each node.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from controlplane.fleet import bounds
from controlplane.fleet.bounds import is_node
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import (
    MOST_RESETS,
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    LimitPlace,
    NodeProblem,
    NodeState,
    RateLimitReport,
    Rejection,
    ResetReport,
    StatsReport,
)
from controlplane.fleet.verdicts import InstanceName, Verdict, Verdicts
from controlplane.model.pool import DEFAULT_POOL

MOST_BYTES = 512 * 1024
"""A summary above this leaves out first the buckets of limits, then circuits and health."""
_MOST_JSON = 64 << 20
_PLACES = frozenset(LimitPlace)


def encode(state: PeerState, most: int = MOST_BYTES) -> bytes:
    """The value; shortened until it fits into `most` bytes, if it can."""
    for detail in (2, 1, 0):
        circuits = _by_node(state.circuits) if detail else {}
        listed = [_node(node, circuits.get(node.node, ()), detail) for node in state.nodes.values()]
        if listed:
            votes = [_verdict(name, found) for name, found in state.votes.items()] if detail else []
            listed[0][13] = [votes, state.looks]
        value = zlib.compress(json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode(), 1)
        if len(value) <= most:
            break
    return value


def decode(value: bytes) -> PeerState:
    """The state that was encoded, as far as it fitted. Raises ValueError for anything else."""
    if not value:
        return PeerState()
    try:
        inflate = zlib.decompressobj()
        return _state(json.loads(inflate.decompress(value, _MOST_JSON)))
    except (ValueError, TypeError, KeyError, IndexError, zlib.error, RecursionError) as error:
        raise ValueError(f"is not a summary: {error}") from None


def _state(listed: list[Any]) -> PeerState:
    votes, looks = listed[0][13][:2] if listed and len(listed[0]) > 13 else (None, False)
    # Data planes that every control plane would have refused are left out.
    listed = [fields for fields in listed if is_node(fields[0])]
    nodes = {state.node: state for state in map(_read_node, listed)}
    circuits: dict[str, dict[str, CircuitReport]] = defaultdict(dict)
    for fields in listed:
        for report in (_read_circuit(*one[:8]) for one in fields[11][2]):
            circuits[report.service_name][fields[0]] = report
    if votes is None:
        return _told_by_older(nodes, listed, circuits)
    return PeerState(nodes, dict(map(_read_verdict, votes)), circuits, bool(looks))


def _told_by_older(
    nodes: dict[str, NodeState], listed: list[Any], circuits: Mapping[str, Mapping[str, CircuitReport]]
) -> PeerState:
    """From a control plane that sends the votes on instances with each node."""
    votes = Verdicts()
    for fields in listed:
        nodes[fields[0]] = replace(nodes[fields[0]], slot=votes.take_slot())
        votes.say(nodes[fields[0]].slot, (_read_health(*one[:5]) for one in fields[10][1]))
    return PeerState(nodes, votes.found, circuits)


def _by_node(circuits: Mapping[str, Mapping[str, CircuitReport]]) -> Mapping[str, Sequence[CircuitReport]]:
    found: dict[str, list[CircuitReport]] = defaultdict(list)
    for by_node in circuits.values():
        for node, report in by_node.items():
            found[node].append(report)
    return found


def _verdict(name: InstanceName, found: Verdict) -> list[Any]:
    # Whole seconds: fractions would be half of a large summary.
    seen = round(found.last_check), round(found.failed_at), found.reason
    return [*name, f"{found.known:x}", f"{found.well:x}", f"{found.ill:x}", *seen]


def _read_verdict(fields: list[Any]) -> tuple[InstanceName, Verdict]:
    service, instance, known, well, ill, last_check, failed_at, reason = fields[:8]
    bits = int(known, 16), int(well, 16), int(ill, 16)
    if min(bits) < 0 or max(map(int.bit_length, bits)) > bounds.MOST_SLOTS:
        raise ValueError(f"votes of more than {bounds.MOST_SLOTS} data planes")
    return (_name(service), _name(instance)), Verdict(
        *bits, _time(last_check), _time(failed_at), _text(reason)
    )


def _node(node: NodeState, circuits: Sequence[CircuitReport], detail: int) -> list[Any]:
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
        [node.health_revision, []],
        _stats(node.stats, circuits, detail),
        node.slot,
        # Place of the votes of all nodes in the list of the first node.
        None,
        [[revision, one.limits, one.shared, one.unreached] for revision, one in node.resets.items()],
        node.resets_unreported,
        node.without_redis,
        node.pool,
    ]


def _rejection(rejection: Rejection | None) -> list[Any] | None:
    if rejection is None:
        return None
    problems = [[one.resource, one.field, one.detail] for one in rejection.problems[:20]]
    return [rejection.revision, rejection.at, rejection.digest, problems, rejection.withheld]


def _stats(stats: StatsReport, circuits: Sequence[CircuitReport], detail: int) -> list[Any]:
    breakers = [
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
        for one in circuits
    ]
    buckets = [
        [one.name, one.key, round(one.remaining, 3), one.refused, one.place, round(one.held, 3), one.away]
        for one in stats.rate_limits
        if detail > 1
    ]
    return [stats.at, stats.total_requests, breakers, buckets]


def _read_node(fields: list[Any]) -> NodeState:
    resets = fields[14][-MOST_RESETS:] if len(fields) > 14 else ()
    unreported, lacks = (len(fields) > at and bool(fields[at]) for at in (15, 16))
    known = dict(_read_reset(*one[:4]) for one in resets)
    pool = _text(fields[17])[:64] if len(fields) > 17 else DEFAULT_POOL
    return replace(
        _read(*fields[:13]), resets=known, resets_unreported=unreported, without_redis=lacks, pool=pool
    )


def _read_reset(revision: int, *limits: list[Any]) -> tuple[int, ResetReport]:
    return _count(revision), ResetReport(*(tuple(map(_name, one)) for one in limits))


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
    slot: int = -1,
) -> NodeState:
    return NodeState(
        node=node,
        version=_text(version)[:64],
        connected=bool(connected),
        since=_time(since),
        sent_revision=_count(sent),
        applied_revision=_count(applied),
        digest=_text(digest)[:64],
        last_seen=_time(last_seen),
        last_rejection=_read_rejection(*rejection[:5]) if rejection else None,
        leaving={(_name(service), _name(instance)): _count(count) for service, instance, count in leaving},
        health_revision=_count(health[0]),
        slot=bounds.slot(int(slot)),
        stats=_read_stats(*stats[:4]),
    )


def _read_rejection(
    revision: int, at: float, digest: str, problems: list[Any], withheld: Any = False
) -> Rejection:
    listed = tuple(NodeProblem(*map(_text, problem[:3])) for problem in problems)
    return Rejection(_count(revision), listed, _time(at), _text(digest)[:64], bool(withheld))


def _read_health(service: str, instance: str, status: str, last_check: float, reason: str) -> InstanceHealth:
    verdict = InstanceStatus(status)
    return InstanceHealth(_name(service), _name(instance), verdict, _time(last_check), _text(reason))


def _read_circuit(
    service: str,
    state: str,
    changed: float = 0.0,
    total: int = 0,
    failed: int = 0,
    rejected: int = 0,
    recent: int = 0,
    reason: str = "",
) -> CircuitReport:
    counts = _count(total), _count(failed), _count(rejected), _count(recent, 2**32 - 1)
    return CircuitReport(_name(service), CircuitState(state), _time(changed), *counts, _text(reason))


def _read_stats(at: float, total: int, _circuits: list[Any], buckets: list[Any]) -> StatsReport:
    return StatsReport(_time(at), _count(total), (), tuple(_read_bucket(*one[:7]) for one in buckets))


def _read_bucket(
    name: str,
    key: str,
    remaining: float,
    refused: int,
    place: str = LimitPlace.UNKNOWN,
    held: float = 0.0,
    away: object = False,
) -> RateLimitReport:
    left = bounds.number(float(remaining)), _count(refused)
    word = LimitPlace(place) if place in _PLACES else LimitPlace.UNKNOWN
    return RateLimitReport(_text(name), _text(key), *left, word, bounds.number(float(held)), bool(away))


def _text(sent: object) -> str:
    """JSON may hold lone surrogates, which the messages on the wire cannot."""
    return bounds.text(str(sent)).encode(errors="replace").decode()


def _name(sent: object) -> str:
    return bounds.name(_text(sent))


def _time(sent: Any) -> float:
    return bounds.time(float(sent))


def _count(sent: Any, most: int = bounds.MOST_COUNT) -> int:
    return bounds.count(int(sent), most)
