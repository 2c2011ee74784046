"""Limits as they are counted, and resets, from Python."""

from __future__ import annotations

import pytest

import headgate
from headgate import Bucket, BucketNotFound, BucketReport, LimitBound, LimitPlace, LimitReset, RateLimit
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import status_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry

TOGETHER = pb.RateLimitView(
    name="together",
    mode="fleet",
    key="subject",
    owner="cp-1",
    bound=pb.RateLimitBound(burst=20, per_second=0.5, whole_fleet=True, holds=True, reason="so"),
    refused=7,
    more=2,
    buckets=[
        pb.BucketView(
            key="subject:ann",
            remaining=1.5,
            refused=7,
            dataplanes={
                "gateway-1": status_pb2.RateLimitReport(
                    remaining=1.5, refused=7, place=status_pb2.LIMIT_PLACE_FLEET, away=True
                ),
                "gateway-2": status_pb2.RateLimitReport(remaining=2),
            },
        )
    ],
)
OWN = pb.RateLimitView(name="headgate:address", mode="local")
FOUND = pb.ResetRateLimitResponse(
    revision=7,
    limits={"together": 1, "callers": 2},
    dataplanes={"gateway-1": 1, "gateway-2": 1},
    unreached=["r"],
    waiting=["c"],
    unreported=["o"],
)


async def test_limits_with_their_bounds_and_buckets(registry: FakeRegistry) -> None:
    registry.limits = [TOGETHER, OWN]
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        together, own = await gateway.router.get_rate_limits()
        await gateway.router.get_rate_limits("together", key="ann", node="gateway-1", most=5)
    reports = {
        "gateway-1": BucketReport(1.5, 7, LimitPlace.FLEET, True),
        "gateway-2": BucketReport(2.0, 0, LimitPlace.UNKNOWN, False),
    }
    assert together == RateLimit(
        "together",
        "fleet",
        "subject",
        "cp-1",
        LimitBound(20, 0.5, None, True, True, "so"),
        7,
        2,
        (Bucket("subject:ann", 1.5, 7, reports),),
    )
    assert own == RateLimit("headgate:address", "local", None, None, None, 0, 0, ())
    assert registry.choices == [
        pb.ListRateLimitsRequest(most=100),
        pb.ListRateLimitsRequest(limit="together", key="ann", node="gateway-1", most=5),
    ]


async def test_a_reset_says_what_it_found(registry: FakeRegistry) -> None:
    registry.found["ann"] = FOUND
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        reset = await gateway.router.reset_rate_limit("ann")
        with pytest.raises(BucketNotFound, match="'nobody'"):
            await gateway.router.reset_rate_limit("nobody")
    counts = {"together": 1, "callers": 2}, {"gateway-1": 1, "gateway-2": 1}
    assert reset == LimitReset(7, *counts, ("r",), ("c",), ("o",))
    assert reset.buckets == 3
