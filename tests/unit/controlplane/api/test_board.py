"""The fleet at a glance: what is wrong, in order, and what changed between two looks."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from controlplane.api.places import Bounds
from controlplane.api.streams import Streams
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    StatsReport,
)
from tests.support.api import READER, Api
from tests.support.waiting import eventually, within

DOCUMENT = {
    "services": [
        {
            "service_name": "orders",
            "instances": [{"instance_id": f"o-{n}", "host": "192.0.2.1", "port": n} for n in (1, 2)],
        }
    ]
}


@pytest.fixture
async def fleet(admin: httpx.AsyncClient, api: Api) -> Api:
    """Two data planes that serve a service with two instances."""
    (await admin.post("/api/v1/apply", json=DOCUMENT)).raise_for_status()
    await api.seen()
    for node in ("a", "b"):
        api.parts.fleet.hello(node, "0.2.0")
        serve(api, node)
    return api


def serve(api: Api, node: str) -> None:
    """The data plane answers that it serves the published configuration."""
    current = api.parts.watcher.current
    assert current is not None
    api.parts.fleet.sent(node, current.revision)
    api.parts.fleet.ack(node, current.revision, current.digest)


async def board(api: Api) -> dict[str, object]:
    """The fleet at a glance."""
    answer = await api.client.get("/api/v1/fleet")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def titles(api: Api) -> list[str]:
    """The troubles in order."""
    troubles = (await board(api))["troubles"]
    assert isinstance(troubles, list)
    return [one["title"] for one in troubles]


async def test_a_fleet_in_order_has_no_trouble(fleet: Api) -> None:
    found = await board(fleet)
    assert found["troubles"] == []
    assert found["counts"] == {
        "connected": 2,
        "serving": 2,
        "waiting": 0,
        "rejecting": 0,
        "gone": 0,
        "services": 1,
        "routes": 0,
    }


async def test_the_time_that_a_change_took_to_reach_a_data_plane(fleet: Api) -> None:
    assert fleet.parts.watcher.current is not None
    fleet.parts.fleet.sent("a", 99)
    fleet.wall.now += 0.25
    fleet.parts.fleet.ack("a", 99, "another")
    fleet.wall.now += 5
    fleet.parts.fleet.ack("a", 100, "another")
    one = (await fleet.client.get("/api/v1/dataplanes")).json()[0]
    assert one["seconds_to_apply"] == pytest.approx(0.25), "a revision with the same content is no change"


async def test_rejections_stragglers_and_lost_data_planes_are_told_apart(
    fleet: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await fleet.client.post("/api/v1/apply", json={"scopes": [{"name": "x"}]})).raise_for_status()
    (await fleet.client.delete("/api/v1/services/orders")).raise_for_status()
    await fleet.seen()
    current = fleet.parts.watcher.current
    assert current is not None
    problem = [NodeProblem("route/orders", "prefix", "too many")]
    fleet.parts.fleet.nack("a", current.revision, problem, current.digest)
    monkeypatch.setattr(fleet.parts.broadcast._board, "_wall", lambda: fleet.wall() + 10)
    rejected, waiting = await titles(fleet)
    assert rejected == f"1 of 2 data planes rejects revision {current.revision}"
    assert waiting == f"1 of 2 data planes does not serve revision {current.revision} yet"
    fleet.parts.fleet.disconnect("b")
    fleet.parts.fleet.disconnect("a")
    assert (await titles(fleet))[0] == "No data plane is connected"
    assert "2 data planes left in the last ten minutes" in await titles(fleet)


async def test_breakers_and_instances(fleet: Api) -> None:
    opened = CircuitReport(
        "orders", CircuitState.OPEN, 1002.0, 20, 6, 3, 6, "Circuit opened after 6 failures"
    )
    ill = InstanceHealth("orders", "o-1", InstanceStatus.UNHEALTHY, 1001.5, "connection refused")
    for node in ("a", "b"):
        fleet.parts.fleet.stats(node, StatsReport(1003.0, 20, (opened,)))
        well = InstanceHealth("orders", "o-2", InstanceStatus.HEALTHY, 1001.5)
        fleet.parts.fleet.health(node, [ill, well])
    assert await titles(fleet) == [
        "Circuit of orders is open on 2 of 2 data planes",
        "1 of 2 instances of orders is unhealthy",
    ]
    for node in ("a", "b"):
        fleet.parts.fleet.health(node, [ill._replace(instance_id=one) for one in ("o-1", "o-2")])
    assert "Service orders has no healthy instance" in await titles(fleet)


async def test_a_service_whose_instances_are_all_gone(fleet: Api) -> None:
    """An instance that dies loses its lease, and is not even unhealthy any more."""
    empty: dict[str, object] = {"service_name": "orders", "instances": []}
    (await fleet.client.put("/api/v1/services/orders", json=empty)).raise_for_status()
    await fleet.seen()
    for node in ("a", "b"):
        serve(fleet, node)
    assert await titles(fleet) == [], "no request can fail while no route leads to it"
    route = {"name": "orders", "prefix": "/orders", "services": [{"service_name": "orders", "weight": 1}]}
    (await fleet.client.post("/api/v1/apply", json={"routes": [route]})).raise_for_status()
    await fleet.seen()
    for node in ("a", "b"):
        serve(fleet, node)
    assert await titles(fleet) == ["Service orders has no instance"]


async def test_a_stream_tells_everything_and_then_what_changed(fleet: Api) -> None:
    async def allowed() -> bool:
        return True

    others = set(fleet.parts.fleet.followers)
    follow = fleet.parts.broadcast.follow(allowed)
    first = await within(anext(follow), 10)
    assert first.startswith(b"event: state\n") and len(read(first)["dataplanes"]) == 2
    fleet.parts.fleet.stats("b", StatsReport(1003.0, 7))
    news = read(await within(anext(follow), 10))
    assert [(one["node"], one["total_requests"]) for one in news["changed"]] == [("b", 7)]
    fleet.parts.fleet.health("b", [])
    quiet = read(await within(anext(follow), 10))
    assert quiet["changed"] == [], "a report that moves only last_seen is no news"
    await follow.aclose()
    assert fleet.parts.fleet.followers == others, "nobody looks any more"


async def test_a_slow_follower_gets_everything_instead_of_a_queue(fleet: Api) -> None:
    async def allowed() -> bool:
        return True

    follow = fleet.parts.broadcast.follow(allowed)
    await within(anext(follow), 10)
    other = fleet.parts.broadcast.follow(allowed)
    await within(anext(other), 10)
    for count in (1, 2):
        fleet.parts.fleet.stats("b", StatsReport(1003.0 + count, count))
        await within(anext(other), 10)
    late = await within(anext(follow), 10)
    assert late.startswith(b"event: state\n")
    await follow.aclose()
    await other.aclose()


async def test_streams_are_bounded_and_end_with_the_process(fleet: Api) -> None:
    fleet.client.headers.update(await fleet.token(READER))
    fleet.parts.streams = Streams(Bounds(1, of_caller=1))
    reading = asyncio.create_task(fleet.client.get("/api/v1/fleet/stream"))
    await eventually(lambda: len(fleet.parts.streams))
    refused = await fleet.client.get("/api/v1/fleet/stream")
    assert refused.status_code == 429 and refused.headers["Retry-After"]
    fleet.parts.streams.stopping.set()
    answer = await within(reading, 10)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert b"event: state\n" in answer.content
    assert not len(fleet.parts.streams)


def read(event: bytes) -> dict[str, list[dict[str, object]]]:
    """The data of an event."""
    found: dict[str, list[dict[str, object]]] = json.loads(event.partition(b"data: ")[2])
    return found
