"""The recorded traffic: bounded, found by time, and summed up by reason."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from controlplane.api.shapes.base import moment
from controlplane.api.shapes.traffic import RouteTrafficShape, TotalShape, TrafficShape
from controlplane.api.traffic_history import MOST_ROWS, TrafficHistory
from controlplane.fleet.reports import RefusalTraffic, RouteTraffic, StatsReport, TrafficReport
from tests.support.api import Api
from tests.support.waiting import eventually

NOON = 1_800_000_000.0


def route(name: str, rate: float, refused: float = 0.0) -> RouteTrafficShape:
    return RouteTrafficShape(
        name=name,
        service_name="orders",
        services=[],
        rate_limits=[],
        requests_per_second=rate,
        client_errors_per_second=refused,
        server_errors_per_second=0.0,
        error_share=0.0,
        refusals={"limited": refused} if refused else {},
    )


def traffic(at: float, rate: float = 10.0, *routes: RouteTrafficShape) -> TrafficShape:
    total = TotalShape(
        requests_per_second=rate,
        client_errors_per_second=1.0,
        server_errors_per_second=2.0,
        error_share=0.2,
        p50=0.01,
        p99=0.1,
        refusals={"limited": 0.5, "not_found": 0.25},
    )
    return TrafficShape(
        at=moment(at),
        every=2.0,
        revision=7,
        total=total,
        dataplanes=[],
        services=[],
        routes=list(routes),
        limits=[],
    )


def test_samples_older_than_the_history_are_dropped() -> None:
    history = TrafficHistory(60.0, 10.0)
    for second in range(0, 200, 10):
        history.add(NOON + second, traffic(NOON + second, float(second)))
    assert [one.requests_per_second for one in history.points()] == [140, 150, 160, 170, 180, 190]
    history.add(NOON + 500, traffic(NOON + 500))
    assert len(history) == 1


def test_a_clock_that_was_set_back_begins_the_later_part_anew() -> None:
    history = TrafficHistory(3600.0, 10.0)
    for at in (0, 10, 20, 5):
        history.add(NOON + at, traffic(NOON + at))
    assert [one.at for one in history.points()] == [moment(NOON), moment(NOON + 5)]


def test_the_nearest_sample_is_found_unless_it_is_far() -> None:
    history = TrafficHistory()
    for at in (0, 10, 200):
        history.add(NOON + at, traffic(NOON + at, at))
    for asked, found in (
        (-5, 0),
        (4, 0),
        (6, 10),
        (69, 10),
        (100, None),
        (150, 200),
        (259, 200),
        (261, None),
    ):
        sample = history.near(NOON + asked)
        assert (sample and sample.at - NOON) == found, asked
    assert TrafficHistory().near(NOON) is None


def test_the_busiest_routes_are_kept_and_those_in_trouble() -> None:
    history = TrafficHistory()
    busy = [route(f"r{number}", 1000.0 - number) for number in range(200)]
    history.add(NOON, traffic(NOON, 9.0, *busy, route("ill", 0.2, 0.1)))
    kept = json.loads(history.near(NOON).unpacked())["routes"]  # type: ignore[union-attr]
    assert len(kept) == 2 * MOST_ROWS and kept[-1]["name"] == "ill"


def test_points_and_reasons_of_one_route() -> None:
    history = TrafficHistory()
    history.add(NOON, traffic(NOON, 9.0, route("orders", 5.0, 2.0)))
    history.add(NOON + 10, traffic(NOON + 10))
    points, reasons = history.points_of("routes", "orders")
    assert [one.requests_per_second for one in points] == [5.0, 0.0]
    assert reasons == {"limited": 20}
    assert history.reasons() == {"limited": 10, "not_found": 5}


def test_nothing_is_kept_when_it_is_switched_off() -> None:
    history = TrafficHistory(0.0)
    history.add(NOON, traffic(NOON))
    assert not len(history)


def test_an_hour_of_a_large_gateway_takes_few_megabytes() -> None:
    history = TrafficHistory()
    rows = [route(f"route-of-team-{number}", 1000 / (number + 1), number % 7 / 3) for number in range(1000)]
    history.add(NOON, traffic(NOON, 9.0, *rows))
    sample = history.near(NOON)
    assert sample is not None and len(sample.packed) * 360 < 3_000_000


@pytest.fixture
async def recorded(api: Api) -> TrafficHistory:
    document = {
        "services": [{"service_name": "orders"}],
        "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders"}],
    }
    await api.parts.commands.apply(document, author="test")
    await api.seen()
    history = api.parts.traffic.history
    history.add(NOON, traffic(NOON, 9.0, route("orders", 5.0, 2.0)))
    history.add(NOON + 10, traffic(NOON + 10, 8.0))
    return history


@pytest.mark.usefixtures("recorded")
async def test_the_history_is_offered_for_the_fleet_and_for_a_route(admin: httpx.AsyncClient) -> None:
    found = (await admin.get("/api/v1/traffic/history")).json()
    assert [one["requests_per_second"] for one in found["points"]] == [9.0, 8.0]
    assert (found["step"], found["seconds"]) == (10.0, 3600.0)
    one = (await admin.get("/api/v1/traffic/history", params={"route": "orders"})).json()
    assert [point["requests_per_second"] for point in one["points"]] == [5.0, 0.0]
    assert one["refusals"] == {"limited": 20}
    at = found["points"][0]["at"]
    then = (await admin.get("/api/v1/traffic", params={"at": at})).json()
    assert then["at"] == at and then["routes"][0]["name"] == "orders"


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/traffic?at=yesterday", 400),
        ("/api/v1/traffic?at=2001-01-01T00:00:00Z", 404),
        ("/api/v1/traffic?nonsense=1", 400),
        ("/api/v1/traffic/history?route=none", 404),
        ("/api/v1/traffic/history?route=orders&service=orders", 400),
        ("/api/v1/traffic/services/none", 404),
    ],
)
async def test_what_is_not_on_record_is_refused(admin: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await admin.get(path)).status_code == status


async def test_the_traffic_is_recorded_while_nobody_watches(api: Api) -> None:
    fleet, feed = api.parts.fleet, api.parts.traffic
    feed.history = TrafficHistory(60.0, 0.01)
    fleet.hello("gw-1", "1.2.3")
    recording = asyncio.create_task(feed.record())
    await eventually(lambda: fleet.reporting("gw-1").traffic > 0)
    report = TrafficReport(
        2.0,
        20,
        routes=(RouteTraffic("orders", 20, 2, 0),),
        refusals=(RefusalTraffic("orders", "", "limited", 4),),
    )
    fleet.stats("gw-1", StatsReport(5.0, 9, traffic=report), changes=True)
    await eventually(lambda: feed.history.reasons() != {} and len(feed.history) > 0)
    assert feed.history.points()[-1].requests_per_second == 10.0
    recording.cancel()
