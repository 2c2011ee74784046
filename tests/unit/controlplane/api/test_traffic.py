"""The live traffic: asked for only while somebody watches, and added up over the data planes."""

from __future__ import annotations

import asyncio

import httpx

from controlplane.fleet.reports import (
    InstanceTraffic,
    LimitTraffic,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
    StatsReport,
    TrafficReport,
)
from tests.support.api import Api
from tests.support.event_streams import opened
from tests.support.waiting import eventually, within

DOCUMENT = {
    "services": [
        {
            "service_name": "orders",
            "instances": [
                {"instance_id": f"orders-{number}", "host": "127.0.0.1", "port": 8000 + number}
                for number in range(1, 16)
            ],
        }
    ],
    "rate_limits": [{"name": "per-caller", "per_second": 5, "burst": 5, "key": "subject"}],
    "routes": [
        {"name": "orders", "prefix": "/orders", "service_name": "orders", "rate_limits": ["per-caller"]}
    ],
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
    (
        RefusalTraffic("orders", "", "limited", 2),
        RefusalTraffic("", "", "not_found", 2),
        RefusalTraffic("", "orders", "timed_out", 4),
    ),
    (LimitTraffic("per-caller", 2, 0), LimitTraffic("trial", 0, 1)),
    (
        InstanceTraffic("orders", "orders-1", 10, 0, 0),
        InstanceTraffic("orders", "orders-2", 8, 4, 1),
        InstanceTraffic("unknown", "x", 8, 4, 1),
    ),
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
        "refusals": {"timed_out": 4.0, "limited": 2.0, "not_found": 2.0},
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
    refused = [(route["refusals"], route["rate_limits"]) for route in seen["routes"]]
    assert refused == [({"limited": 2.0}, ["per-caller"]), ({"not_found": 2.0}, [])]
    assert [(one["name"], one["refused_per_second"]) for one in seen["limits"]] == [
        ("per-caller", 2.0),
        ("trial", 0.0),
    ]
    assert (orders["ejected"], orders["failures"]) == (1, {"timed_out": 4.0})
    assert len(orders["instances"]) == 12
    assert orders["instances"][0]["instance_id"] == "orders-2", "what is ejected comes first"
    assert orders["instances"][0]["error_share"] == 0.5 and orders["instances"][0]["ejected_at"] == 2
    assert orders["instances"][1]["requests_per_second"] == 10.0
    whole = (await admin.get("/api/v1/traffic/services/orders")).json()
    assert len(whole["instances"]) == 15 and whole["instances"][0] == orders["instances"][0]


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
