"""The live traffic: asked for only while somebody watches, and added up over the data planes."""

from __future__ import annotations

import asyncio

import httpx

from controlplane.fleet.reports import RouteTraffic, ServiceTraffic, StatsReport, TrafficReport
from tests.support.api import Api
from tests.support.event_streams import opened
from tests.support.waiting import eventually, within

DOCUMENT = {
    "services": [{"service_name": "orders"}],
    "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders"}],
}
REPORT = TrafficReport(
    2.0,
    20,
    2,
    4,
    (RouteTraffic("orders", 18, 2, 4), RouteTraffic("", 2, 0, 0)),
    (ServiceTraffic("orders", (9, 9, 0), 4),),
    (0.1, 1.0),
    3,
    7,
    1 << 20,
)


async def test_the_first_look_waits_for_the_reports(admin: httpx.AsyncClient, api: Api) -> None:
    (await admin.post("/api/v1/apply", json=DOCUMENT)).raise_for_status()
    await api.seen()
    fleet = api.parts.fleet
    for node in ("gw-1", "gw-2"):
        fleet.hello(node, "1.2.3")
    assert fleet.reporting("gw-1").traffic == 0.0
    asked = asyncio.create_task(admin.get("/api/v1/traffic"))
    await eventually(lambda: fleet.reporting("gw-1").traffic == 2.0)
    for node in ("gw-1", "gw-2"):
        fleet.stats(node, StatsReport(5.0, 9, traffic=REPORT), changes=True)
    seen = (await within(asked)).json()
    assert seen["total"] == {
        "requests_per_second": 20.0,
        "client_errors_per_second": 2.0,
        "server_errors_per_second": 4.0,
        "error_share": 0.2,
        "p50": 0.1,
        "p99": 0.982,
    }
    first, second = seen["dataplanes"]
    assert (first["node"], second["node"]) == ("gw-1", "gw-2")
    assert (first["requests_per_second"], first["in_flight"], first["connections"]) == (10.0, 3, 7)
    assert first["memory_bytes"] == 1 << 20
    (orders,) = seen["services"]
    assert (orders["service_name"], orders["requests_per_second"], orders["errors_per_second"]) == (
        "orders",
        18.0,
        4.0,
    )
    assert [(route["name"], route["service_name"]) for route in seen["routes"]] == [
        ("orders", "orders"),
        ("", None),
    ]


async def test_the_stream_sends_it_again_and_again_while_it_is_watched(api: Api) -> None:
    fleet = api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    async with opened(api.app, "/api/v1/events?type=traffic", await api.token()) as reader:
        before = await reader.until("traffic")
        assert before.data["dataplanes"][0]["requests_per_second"] is None
        fleet.stats("gw-1", StatsReport(5.0, 9, traffic=REPORT), changes=True)
        after = await reader.until("traffic")
        assert after.data["dataplanes"][0]["requests_per_second"] == 10.0
    assert api.parts.traffic.latest == b""
