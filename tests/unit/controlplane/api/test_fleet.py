"""The fleet's views in the shapes of the contract, and orders to forget."""

from __future__ import annotations

import httpx
import pytest

from controlplane.api.shapes.base import moment
from controlplane.commands.plans.discovery import Discover, discover
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    StatsReport,
)
from controlplane.model.base import parse_as
from controlplane.model.discovered import Found
from controlplane.model.discovery import Discovery
from controlplane.model.resources import Instance
from tests.support.api import Api

DOCUMENT = {
    "services": [
        {
            "service_name": "orders",
            "instances": [
                {"instance_id": f"orders-{number}", "host": "192.0.2.1", "port": 9000 + number}
                for number in (1, 2)
            ],
        }
    ],
}


@pytest.fixture
async def fleet(admin: httpx.AsyncClient, api: Api) -> httpx.AsyncClient:
    """The client, after two data planes reported on a service with two instances."""
    (await admin.post("/api/v1/apply", json=DOCUMENT)).raise_for_status()
    await api.seen()
    fleet, current = api.parts.fleet, api.parts.watcher.current
    assert current is not None
    for node in ("b", "a"):
        fleet.hello(node, "0.1.0")
        fleet.ack(node, current.revision, current.digest)
        fleet.health(
            node,
            [
                InstanceHealth("orders", "orders-1", InstanceStatus.HEALTHY, 1000.0),
                InstanceHealth("orders", "orders-2", InstanceStatus.UNHEALTHY, 1001.5, "connection refused"),
            ],
        )
    opened = CircuitReport(
        "orders", CircuitState.OPEN, 1002.0, 20, 6, 3, 6, "Circuit opened after 6 failures"
    )
    fleet.stats("a", StatsReport(1003.0, 20, (opened,)))
    fleet.nack("b", 99, [NodeProblem("route/orders", "prefix", "too many routes")])
    return admin


async def test_services(fleet: httpx.AsyncClient) -> None:
    (orders,) = (await fleet.get("/api/v1/services")).json()
    assert (await fleet.get("/api/v1/services/orders")).json() == orders
    assert orders.pop("status").items() >= {"serving": 2, "connected": 2}.items()
    assert orders.pop("check_path") == "/health"
    assert {name: orders[name] for name in ("service_name", "healthy", "total", "instances")} == {
        "service_name": "orders",
        "healthy": 1,
        "total": 2,
        "instances": {
            "orders-1": {
                "status": "healthy",
                "last_check": "1970-01-01T00:16:40.000Z",
                "reason": "",
                "host": "192.0.2.1",
                "port": 9001,
                "weight": 1,
                "metadata": {},
                "workers": 0,
                "source": "static",
            },
            "orders-2": {
                "status": "unhealthy",
                "last_check": "1970-01-01T00:16:41.500Z",
                "reason": "connection refused",
                "host": "192.0.2.1",
                "port": 9002,
                "weight": 1,
                "metadata": {},
                "workers": 0,
                "source": "static",
            },
        },
    }
    assert (await fleet.get("/api/v1/services/nobody")).status_code == 404


async def test_how_many_processes_hold_an_instance(fleet: httpx.AsyncClient, api: Api) -> None:
    for instance_id, times in (("shared", 3), ("alone", 1)):
        one = Instance(service_name="orders", instance_id=instance_id, host="192.0.2.2", port=9000)
        for _ in range(times):
            await api.parts.commands.register(one, None, 15)
    await api.seen()
    shown = (await fleet.get("/api/v1/services/orders")).json()["instances"]
    workers = {instance_id: found["workers"] for instance_id, found in shown.items()}
    assert workers == {"alone": 1, "shared": 3, "orders-1": 0, "orders-2": 0}


async def test_discovered_instances_are_shown_and_are_no_fields(fleet: httpx.AsyncClient, api: Api) -> None:
    assert (await fleet.get("/api/v1/services/orders")).json()["discovered"] is None
    discovery = {"dns": {"name": "orders.example", "port": 80}}
    await api.parts.commands.patch("service", "orders", {"discovery": discovery}, author="test")
    await api.seen()
    waiting = (await fleet.get("/api/v1/services/orders")).json()["discovered"]
    assert (waiting["problem"], waiting["since"]) == ("no answer yet", None)
    one = Found(instance_id="found-1", host="192.0.2.7", port=80)
    request = Discover(
        author="",
        service_name="orders",
        discovery=parse_as(Discovery, discovery),
        instances=(one,),
        problem="1 not used",
        now=1000.0,
    )
    await api.parts.commands.executor.run(discover, request)
    await api.seen()
    answer = await fleet.get("/api/v1/services/orders")
    shown = answer.json()
    assert shown["instances"]["found-1"]["source"] == "discovered"
    assert shown["discovered"] == {
        "source": "DNS name orders.example (A)",
        "instances": 1,
        "problem": "1 not used",
        "since": "1970-01-01T00:16:40.000Z",
    }
    health = (await fleet.get("/health")).json()
    told = "(DNS name orders.example (A)) since 1970-01-01T00:16:40.000Z: 1 not used; 1 instance known"
    assert f"discovery of service 'orders' {told}" in health["problems"]
    # A response that is sent back changes nothing: what was found does not become a static instance.
    (await fleet.put("/api/v1/services/orders", json=shown)).raise_for_status()
    stored = (await fleet.get("/api/v1/config/services/orders")).json()
    assert {each["instance_id"] for each in stored["instances"]} == {"orders-1", "orders-2"}


async def test_circuits(fleet: httpx.AsyncClient) -> None:
    (circuit,) = (await fleet.get("/api/v1/circuits")).json()
    of_a = {
        "state": "open",
        "last_state_change": "1970-01-01T00:16:42.000Z",
        "stats": {"total_requests": 20, "failed_requests": 6, "rejected_requests": 3},
        "recent_failures": 6,
        "reason": "Circuit opened after 6 failures",
    }
    config = circuit.pop("config")
    assert circuit == {"service_name": "orders", **of_a, "dataplanes": {"a": of_a}}
    assert (config["failure_threshold"], config["recovery_timeout"]) == (5, 30)


async def test_dataplanes(fleet: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.disconnect("b")
    a, b = (await fleet.get("/api/v1/dataplanes")).json()
    assert api.parts.watcher.current is not None
    assert (a["node"], a["version"], a["connected"]) == ("a", "0.1.0", True)
    assert a["applied_revision"] == api.parts.watcher.current.revision
    assert a["last_seen"] == moment(api.wall.now)
    assert (a["last_rejection"], a["total_requests"]) == (None, 20)
    assert (b["node"], b["connected"]) == ("b", False)
    assert b["last_rejection"] == {
        "revision": 99,
        "withheld": False,
        "problems": [{"resource": "route/orders", "field": "prefix", "detail": "too many routes"}],
        "at": moment(api.wall.now),
    }


async def test_resetting_a_circuit(fleet: httpx.AsyncClient, api: Api) -> None:
    answer = await fleet.post("/api/v1/circuits/orders/reset")
    assert (answer.status_code, answer.json()) == (202, {"revision": api.store.revision})
    entry = await api.store.get("/headgate/v1/reset/circuit-orders")
    assert entry is not None
    assert entry.lease
    assert (await fleet.post("/api/v1/circuits/nobody/reset")).status_code == 404


def test_moments() -> None:
    assert moment(0) is None
    assert moment(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"


async def test_the_breaker_of_one_service(fleet: httpx.AsyncClient) -> None:
    one = (await fleet.get("/api/v1/circuits/orders")).json()
    assert one == (await fleet.get("/api/v1/circuits")).json()[0]
    assert (await fleet.get("/api/v1/circuits/nothing")).status_code == 404
