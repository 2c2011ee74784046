"""What control planes tell each other of their data planes: all of it, in a bounded value, and nothing but that."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace

import pytest

from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerState, UpdateSender
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceStatus,
    NodeProblem,
    NodeState,
    RateLimitReport,
    Rejection,
    StatsReport,
)
from controlplane.fleet.summaries import MOST_BYTES, decode, encode
from controlplane.fleet.verdicts import Verdict
from controlplane.rpc.wire import peer_messages

FULL = NodeState(
    node="gw-1",
    version="1.2.3",
    connected=True,
    since=100.5,
    sent_revision=8,
    applied_revision=7,
    digest="abc",
    last_seen=101.25,
    last_rejection=Rejection(8, (NodeProblem("route/a", "prefix", "is „odd“"),), 99.0, "def", withheld=True),
    slot=3,
    health_revision=7,
    without_redis=True,
    leaving={("orders", "o-2"): 3},
    stats=StatsReport(
        101.0,
        500,
        rate_limits=(RateLimitReport("per-user", "subject:ann", 2.5, 1),),
    ),
)


OPEN = CircuitReport("orders", CircuitState.OPEN, 97.0, 10, 5, 2, 4, "Circuit opened after 5 failures")
VOTES = {("orders", "o-1"): Verdict(0b1001, 0b1, 0b1000, 98.0, 98.0, "refused")}


def told(*nodes: NodeState) -> PeerState:
    return PeerState(
        {one.node: one for one in nodes}, VOTES, {"orders": {one.node: OPEN for one in nodes}}, True
    )


def test_everything_arrives() -> None:
    both = told(FULL, NodeState("gw-2", "1.2.3", connected=False, slot=0))
    assert decode(encode(both)) == both
    assert decode(encode(PeerState())) == decode(b"") == PeerState()


def test_what_a_newer_control_plane_adds_is_passed_over() -> None:
    listed = json.loads(zlib.decompress(encode(told(FULL))))
    listed[0][11].append("new")
    listed[0][8].append("new")
    listed[0][13].append("new")
    listed[0][13][0][0].append("new")
    listed[0].append({"new": True})
    assert decode(zlib.compress(json.dumps(listed).encode())) == told(FULL)


def test_a_control_plane_before_these_votes_is_understood() -> None:
    listed = json.loads(zlib.decompress(encode(told(FULL))))
    del listed[0][12:]
    listed[0][10] = [7, [["orders", "o-1", "unhealthy", 98, "refused"]]]
    heard = decode(zlib.compress(json.dumps(listed).encode()))
    found = heard.votes["orders", "o-1"]
    assert found.vote(heard.nodes["gw-1"].slot) is InstanceStatus.UNHEALTHY
    assert (found.last_check, found.reason) == (98.0, "refused")
    assert heard.circuits == {"orders": {"gw-1": OPEN}}


def test_votes_of_a_thousand_data_planes_fit() -> None:
    """Five thousand instances, each with the votes of a thousand data planes."""
    bits = (1 << 1000) - 1
    votes = {
        (f"s{number % 500}", str(number)): Verdict(bits, bits, 0, 9e8 + number) for number in range(5000)
    }
    nodes = {f"gw-{number}": replace(FULL, node=f"gw-{number}", slot=number) for number in range(1000)}
    value = encode(PeerState(nodes, votes))
    assert len(value) < MOST_BYTES
    assert decode(value).votes == votes


@pytest.mark.parametrize("text", ["{}x", "1", "[1]", '["a"]', "[[]]", '[{"node": 1}]', "[" * 5000, "null"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a summary"):
        decode(zlib.compress(text.encode()))
    with pytest.raises(ValueError, match="is not a summary"):
        decode(text.encode())


def test_what_no_message_holds_is_bounded_so_that_it_can_be_told_on() -> None:
    """A control plane takes over data planes of one that is gone, and tells others of them as of its own."""
    listed = json.loads(zlib.decompress(encode(told(FULL, replace(FULL, node="gw-2")))))
    huge, half = 1 << 80, "\ud800"
    first, second = listed
    first[1] = first[6] = half * 1000
    first[3] = first[7] = float("nan")
    first[4] = first[5] = first[10][0] = huge
    first[8] = [huge, 1e300, half, [[half, half, half * 1000]], True]
    first[9] = [["orders", half, huge], ["orders", "o-2", -1]]
    breaker, bucket = ["orders", "open", 1e300, huge, -1, 7, huge, half], ["slow", half, float("inf"), huge]
    first[11] = [-1.0, huge, [breaker], [bucket]]
    first[12] = huge
    second[0] = "gw\n2"
    heard = decode(zlib.compress(json.dumps(listed).encode()))
    assert set(heard.nodes) == set(heard.circuits["orders"]) == {"gw-1"}
    fleet = Fleet()
    fleet.receive("two", heard)
    fleet.lose("two")
    fleet.hello("gw-1", "1")
    for part in UpdateSender(fleet.verdicts, fleet.circuits).updates(fleet.peer_state()):
        for message in peer_messages.messages(part):
            assert message.SerializeToString()


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
    everything = told(*many)
    whole, shorter, shortest = encode(everything, 10**9), encode(everything, 40_000), encode(everything, 1)
    assert len(whole) > 40_000 >= len(shorter) > len(shortest)
    for value, circuits, buckets in ((whole, 1, 100), (shorter, 1, 0), (shortest, 0, 0)):
        heard = decode(value)
        first = heard.nodes["gw-0"]
        breakers = heard.circuits.get("orders", {})
        assert (len(breakers) // 200, len(first.stats.rate_limits)) == (circuits, buckets)
        assert (first.digest, first.leaving) == (many[0].digest, FULL.leaving)
