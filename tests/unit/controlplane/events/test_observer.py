"""What the observer makes of changes between two looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from controlplane.events.log import Event, Kind
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    StatsReport,
)
from controlplane.store import Put
from tests.support.api import Api, running_api
from tests.support.waiting import eventually

DOCUMENT = {
    "services": [
        {"service_name": "orders", "instances": [{"instance_id": "a", "host": "192.0.2.1", "port": 80}]}
    ]
}


@dataclass
class Stage:
    api: Api
    seen: int = 0

    async def look(self) -> list[Event]:
        """The events since the last look."""
        await self.api.parts.observer.look()
        found = self.api.parts.events.after(self.seen)
        self.seen = self.api.parts.events.last
        return found

    def vote(self, node: str, status: InstanceStatus, reason: str = "") -> None:
        self.api.parts.fleet.health(node, [InstanceHealth("orders", "a", status, 1.0, reason)])

    def serve(self, node: str) -> None:
        current = self.api.parts.watcher.current
        assert current is not None
        self.api.parts.fleet.ack(node, current.revision, current.digest)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with running_api(observing=False) as api:
        await api.parts.commands.apply(DOCUMENT, author="ann")
        await api.seen()
        stage = Stage(api)
        await stage.look()
        yield stage


def told(found: list[Event]) -> list[tuple[str, object]]:
    return [(str(one.kind), one.fields.get("state")) for one in found]


async def test_nothing_happened(stage: Stage) -> None:
    assert await stage.look() == []


async def test_data_planes_come_and_go(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    assert told(await stage.look()) == [("dataplane", "connected")]
    stage.serve("gw-1")
    fleet.disconnect("gw-1")
    assert told(await stage.look()) == [("dataplane", "disconnected")]


async def test_a_rejection_is_told_once_with_its_reasons(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    await stage.look()
    fleet.nack("gw-1", 99, [NodeProblem("route/orders", "prefix", "too many")])
    (rejected,) = await stage.look()
    assert (rejected.kind, rejected.revision) == (Kind.REJECTED, 99)
    assert rejected.text == "data plane gw-1: rejected 99: route/orders prefix: too many"
    assert await stage.look() == []


async def test_a_configuration_is_served_once_by_all(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    for node in ("gw-1", "gw-2"):
        fleet.hello(node, "1.2.3")
    await stage.api.parts.commands.apply({"services": [{"service_name": "payments"}]}, author="ann")
    await stage.api.seen()
    stage.serve("gw-1")
    assert {one.kind for one in await stage.look()} == {Kind.DATAPLANE, Kind.CHANGE, Kind.PUBLISHED}
    stage.serve("gw-2")
    (served,) = await stage.look()
    assert served.kind is Kind.SERVED and served.fields["dataplanes"] == 2
    fleet.hello("gw-3", "1.2.3")
    stage.serve("gw-3")
    assert told(await stage.look()) == [("dataplane", "connected")]


async def test_verdicts_are_those_of_the_fleet(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    for node in ("gw-1", "gw-2", "gw-3"):
        fleet.hello(node, "1.2.3")
        stage.vote(node, InstanceStatus.HEALTHY)
    assert told(await stage.look())[-1] == ("instance", "healthy")
    stage.vote("gw-1", InstanceStatus.UNHEALTHY, "refused")
    assert await stage.look() == []
    stage.vote("gw-2", InstanceStatus.UNHEALTHY, "refused")
    (unhealthy,) = await stage.look()
    assert unhealthy.fields["previous"] == "healthy" and unhealthy.fields["reason"] == "refused"


async def test_who_judged_how(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    judgements = stage.api.parts.observer.services.judgements
    for node in ("gw-1", "gw-2", "gw-3"):
        fleet.hello(node, "1.2.3")
        stage.vote(node, InstanceStatus.HEALTHY)
    await stage.look()
    assert judgements.of(("orders", "a")) == ()
    stage.vote("gw-2", InstanceStatus.UNHEALTHY, "refused")
    await stage.look()
    fleet.disconnect("gw-2")
    await stage.look()
    stage.vote("gw-1", InstanceStatus.UNHEALTHY, "timeout")
    await stage.look()
    fleet.hello("gw-2", "1.2.3")
    stage.vote("gw-2", InstanceStatus.HEALTHY)
    await stage.look()
    found = [(one.dataplane, one.status, one.reason) for one in judgements.of(("orders", "a"))]
    assert found == [
        ("gw-2", "unhealthy", "refused"),
        ("gw-1", "unhealthy", "timeout"),
        ("", "unhealthy", "timeout"),
        ("gw-2", "healthy", ""),
        ("", "healthy", ""),
    ]
    headers = await stage.api.token("reader")
    answer = await stage.api.client.get("/api/v1/services/orders/instances/a/verdicts", headers=headers)
    shown = answer.json()
    assert (shown["status"], shown["healthy"], shown["unhealthy"]) == ("healthy", 2, 1)
    assert [(one["dataplane"], one["status"]) for one in shown["judges"]] == [
        ("gw-1", "unhealthy"),
        ("gw-2", "healthy"),
        ("gw-3", "healthy"),
    ]
    assert shown["judges"][0]["since"] and shown["judges"][2]["since"] is None
    assert shown["verdicts"][0] | {"at": None} == {
        "at": None,
        "dataplane": None,
        "status": "healthy",
        "previous": "unhealthy",
        "reason": "",
        "healthy": 2,
        "unhealthy": 1,
    }
    missing = await stage.api.client.get("/api/v1/services/orders/instances/x/verdicts", headers=headers)
    assert missing.status_code == 404


async def test_lost_data_planes_are_no_news_of_instances(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    stage.vote("gw-1", InstanceStatus.HEALTHY)
    await stage.look()
    fleet.disconnect("gw-1")
    assert told(await stage.look()) == [("dataplane", "disconnected")]
    fleet.hello("gw-1", "1.2.3")
    assert told(await stage.look()) == [("dataplane", "connected")]


async def test_instances_that_go_are_removed(stage: Stage) -> None:
    stage.api.parts.fleet.hello("gw-1", "1.2.3")
    stage.vote("gw-1", InstanceStatus.HEALTHY)
    await stage.look()
    await stage.api.parts.commands.apply({"services": [{"service_name": "orders"}]}, author="ann")
    await stage.api.seen()
    assert ("instance", "removed") in told(await stage.look())


async def test_breakers_are_the_worst_of_the_fleet(stage: Stage) -> None:
    fleet = stage.api.parts.fleet
    for node in ("gw-1", "gw-2"):
        fleet.hello(node, "1.2.3")
    await stage.look()
    for node, state in (("gw-1", CircuitState.OPEN), ("gw-2", CircuitState.HALF_OPEN)):
        fleet.stats(node, StatsReport(circuits=(CircuitReport("orders", state, 5.0, 9, 5, 0, 5, "why"),)))
    (opened,) = await stage.look()
    assert (opened.fields["state"], opened.fields["dataplanes"]) == ("open", 2)
    assert set(stage.api.parts.observer.services.open) == {"orders"}
    for node in ("gw-1", "gw-2"):
        fleet.stats(node, StatsReport(circuits=(CircuitReport("orders", CircuitState.CLOSED, 6.0, 9),)))
    (closed,) = await stage.look()
    assert closed.fields["previous"] == "open" and not stage.api.parts.observer.services.open


async def test_content_that_cannot_be_published(stage: Stage) -> None:
    await stage.api.store.commit({}, [Put("/headgate/v1/route/bad", b"{}")])
    await eventually(lambda: stage.api.parts.watcher.problems)
    (refused,) = await stage.look()
    assert refused.kind is Kind.REFUSED and refused.fields["problems"]


async def test_the_store_is_lost_and_found(stage: Stage) -> None:
    watcher = stage.api.parts.watcher
    watcher.connected = False
    assert told(await stage.look()) == [("store", "lost")]
    watcher.connected, watcher.full = True, True
    assert told(await stage.look()) == [("store", "answers"), ("store", "full")]
