"""What control planes tell each other of their data planes: all of it, in a bounded value, and nothing but that."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace

import pytest

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
from controlplane.fleet.summaries import decode, encode, essence

FULL = NodeState(
    node="gw-1",
    version="1.2.3",
    connected=True,
    since=100.5,
    sent_revision=8,
    applied_revision=7,
    digest="abc",
    last_seen=101.25,
    last_rejection=Rejection(8, (NodeProblem("route/a", "prefix", "is „odd“"),), 99.0, "def"),
    health=(InstanceHealth("orders", "o-1", InstanceStatus.UNHEALTHY, 98.0, "refused"),),
    health_revision=7,
    leaving={("orders", "o-2"): 3},
    stats=StatsReport(
        101.0,
        500,
        (CircuitReport("orders", CircuitState.OPEN, 97.0, 10, 5, 2, 4, "Circuit opened after 5 failures"),),
        (RateLimitReport("per-user", "subject:ann", 2.5, 1),),
    ),
)


def test_everything_arrives() -> None:
    nodes = (FULL, NodeState("gw-2", "1.2.3", connected=False))
    assert decode(encode(nodes)) == nodes
    assert decode(encode(())) == decode(b"") == ()


def test_what_a_newer_control_plane_adds_is_passed_over() -> None:
    listed = json.loads(zlib.decompress(encode((FULL,))))
    listed[0].append({"new": True})
    listed[0][11].append("new")
    listed[0][8].append("new")
    assert decode(zlib.compress(json.dumps(listed).encode())) == (FULL,)


@pytest.mark.parametrize("text", ["{}x", "1", "[1]", '["a"]', "[[]]", '[{"node": 1}]', "[" * 5000, "null"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a summary"):
        decode(zlib.compress(text.encode()))
    with pytest.raises(ValueError, match="is not a summary"):
        decode(text.encode())


def test_a_large_fleet_is_told_in_less_detail() -> None:
    luck = random.Random(1)
    many = [
        replace(
            FULL,
            node=f"gw-{number}",
            digest=f"{luck.getrandbits(256):x}",
            stats=replace(
                FULL.stats,
                rate_limits=tuple(
                    RateLimitReport("per-user", f"subject:{luck.getrandbits(64):x}", luck.random(), 0)
                    for _ in range(100)
                ),
            ),
        )
        for number in range(200)
    ]
    whole, shorter, shortest = encode(many, 10**9), encode(many, 40_000), encode(many, 1)
    assert len(whole) > 40_000 >= len(shorter) > len(shortest)
    for value, circuits, buckets in ((whole, 1, 100), (shorter, 1, 0), (shortest, 0, 0)):
        first = decode(value)[0]
        assert (len(first.stats.circuits), len(first.stats.rate_limits)) == (circuits, buckets)
        assert (first.digest, first.leaving) == (many[0].digest, FULL.leaving)


@pytest.mark.parametrize(
    ("changes", "matters"),
    [
        ({"applied_revision": 8}, True),
        ({"connected": False}, True),
        ({"leaving": {}}, True),
        ({"last_rejection": None}, True),
        ({"health": (replace(FULL.health[0], status=InstanceStatus.HEALTHY),)}, True),
        ({"health": (replace(FULL.health[0], last_check=200.0),)}, False),
        ({"last_seen": 200.0}, False),
        ({"stats": replace(FULL.stats, total_requests=501)}, False),
    ],
)
def test_what_somebody_may_wait_for(changes: dict[str, object], matters: bool) -> None:
    other = replace(FULL, **changes)  # type: ignore[arg-type]
    assert (essence((FULL,)) != essence((other,))) == matters
