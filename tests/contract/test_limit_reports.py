"""What data planes report of limits, read by a control plane and told to the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.fleet import summaries
from controlplane.fleet.peer_updates import PeerState, PeerUpdate, UpdateReceiver
from controlplane.fleet.reports import LimitPlace, NodeState, RateLimitReport, ResetReport
from controlplane.fleet.reports import StatsReport as Read
from controlplane.rpc.wire import peer_messages, report_messages
from dataplane.config.reports import BucketStats, ResetStats, StatsReport
from dataplane.config.stream import wire
from headgate_api.v1 import config_pb2, peers_pb2

SENT = StatsReport(
    13.0,
    99,
    (),
    (
        BucketStats("fleet", "subject:ann", 60.5, 7, "fleet", 10.25, True),
        BucketStats("shared", "subject:ann", 3.0, 1, "node", 2.0),
        BucketStats("here", "subject:ann", 1.5, 0, "worker"),
        BucketStats("redis", "subject:ann", 0.0, 2, "redis", 0.0, True),
    ),
    (ResetStats(7, ("here", "shared"), ("fleet",), ("redis",)), ResetStats(9)),
)


def read() -> Read:
    message = config_pb2.StreamRequest.FromString(wire.stats_report(SENT).SerializeToString())
    return report_messages.stats(message.stats)


def state() -> NodeState:
    found = read()
    stats = replace(found, resets={})
    made = NodeState("gateway-1", "0.1.0", since=5.0, slot=0, stats=stats, resets=found.resets)
    return replace(made, resets_unreported=True)


def test_a_control_plane_reads_what_a_data_plane_says() -> None:
    found = read()
    assert found.rate_limits == (
        RateLimitReport("fleet", "subject:ann", 60.5, 7, LimitPlace.FLEET, 10.25, True),
        RateLimitReport("shared", "subject:ann", 3.0, 1, LimitPlace.NODE, 2.0, False),
        RateLimitReport("here", "subject:ann", 1.5, 0, LimitPlace.WORKER, 0.0, False),
        RateLimitReport("redis", "subject:ann", 0.0, 2, LimitPlace.REDIS, 0.0, True),
    )
    assert found.resets == {7: ResetReport(("here", "shared"), ("fleet",), ("redis",)), 9: ResetReport()}


def test_other_control_planes_are_told_over_a_stream() -> None:
    receiver, said = UpdateReceiver(), None
    for message in peer_messages.messages(PeerUpdate(nodes=[state()], complete=True)):
        received = peers_pb2.FollowResponse.FromString(message.SerializeToString())
        said = receiver.receive(peer_messages.part(received)) or said
    assert said is not None
    assert said[0].nodes["gateway-1"] == state()


def test_other_control_planes_are_told_by_summaries() -> None:
    assert summaries.decode(summaries.encode(PeerState({"gateway-1": state()}))).nodes["gateway-1"] == state()


@pytest.mark.parametrize("place", [0, 99])
def test_a_place_that_is_not_known_is_none(place: int) -> None:
    message = wire.stats_report(SENT).stats
    message.rate_limits[0].place = place  # type: ignore[assignment]
    assert report_messages.stats(message).rate_limits[0].place is LimitPlace.UNKNOWN
