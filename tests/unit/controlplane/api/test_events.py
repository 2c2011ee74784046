"""The stream of events: what happens is told, what was missed is told again, and every stream ends in time."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from starlette.requests import Request

from controlplane.api import events, streams
from controlplane.api.openapi import describe
from controlplane.api.places import Bounds
from controlplane.api.table import operations
from controlplane.events.log import EventLog, Kind
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    StatsReport,
)
from tests.support.api import READER, Api
from tests.support.event_streams import EventReader, Told, opened
from tests.support.waiting import eventually

PATH = "/api/v1/events"
DOCUMENT = {
    "services": [
        {"service_name": "orders", "instances": [{"instance_id": "a", "host": "192.0.2.1", "port": 80}]}
    ]
}
DESCRIBED = describe(operations(), "0")


def assert_described(told: Told) -> None:
    shape = {"$ref": "#/components/schemas/EventShape", "components": DESCRIBED["components"]}
    Draft202012Validator(shape).validate(told.data)
    assert told.data["type"] == told.kind and told.id


async def applied(admin: httpx.AsyncClient, api: Api, document: object = DOCUMENT) -> int:
    answer = (await admin.post("/api/v1/apply", json=document)).raise_for_status()
    await api.seen()
    return int(answer.json()["revision"])


async def told(reader: EventReader, *kinds: str) -> list[Told]:
    """These events, whatever their order."""
    found: dict[str, Told] = {}
    while found.keys() != set(kinds):
        one = await reader.next()
        assert one is not None
        if one.kind in kinds:
            found[one.kind] = one
    return [found[kind] for kind in kinds]


async def test_a_change_and_its_way_to_the_data_planes(admin: httpx.AsyncClient, api: Api) -> None:
    fleet = api.parts.fleet
    async with opened(api.app, PATH, await api.token(READER)) as reader:
        assert reader.status == 200 and reader.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in reader.headers
        fleet.hello("gw-1", "1.2.3")
        connected = await reader.until("dataplane")
        assert connected.data["node"] == "gw-1" and connected.data["state"] == "connected"
        revision = await applied(admin, api)
        change, published = await told(reader, "change", "published")
        assert (change.data["author"], change.data["revision"]) == ("admin", revision)
        current = api.parts.watcher.current
        assert current is not None
        fleet.ack("gw-1", current.revision, current.digest)
        served = await reader.until("served")
        assert served.data["revision"] == current.revision and served.data["dataplanes"] == 1
        for one in (connected, change, published, served):
            assert_described(one)


async def test_verdicts_on_instances_and_breakers(admin: httpx.AsyncClient, api: Api) -> None:
    await applied(admin, api)
    fleet = api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    async with opened(api.app, f"{PATH}?type=instance&type=circuit", await api.token()) as reader:
        for status, reason in ((InstanceStatus.HEALTHY, ""), (InstanceStatus.UNHEALTHY, "refused")):
            fleet.health("gw-1", [InstanceHealth("orders", "a", status, 5.0, reason)])
            instance = await reader.until("instance")
            while instance.data["state"] == "starting":
                instance = await reader.until("instance")
            assert instance.data["state"] == status and instance.data.get("reason", "") == reason
            assert_described(instance)
        opens = CircuitReport("orders", CircuitState.OPEN, 9.0, 9, 5, 0, 5, "Circuit opened after 5 failures")
        fleet.stats("gw-1", StatsReport(9.0, 9, (opens,)))
        circuit = await reader.until("circuit")
        assert (circuit.data["state"], circuit.data["previous"]) == ("open", "closed")
        assert_described(circuit)


async def test_a_client_that_returns_gets_what_it_missed(admin: httpx.AsyncClient, api: Api) -> None:
    headers = await api.token()
    async with opened(api.app, PATH, headers) as reader:
        await applied(admin, api)
        change = await reader.until("change")
    fleet = api.parts.fleet
    fleet.hello("gw-1", "1.2.3")
    async with opened(api.app, PATH, {**headers, "Last-Event-ID": change.id}) as reader:
        assert (await reader.until("dataplane")).data["node"] == "gw-1"
    async with opened(api.app, f"{PATH}?type=change&last=5", headers) as reader:
        assert (await reader.next()) == change


async def test_at_another_control_plane_missed_changes_come_from_the_history(
    admin: httpx.AsyncClient, api: Api
) -> None:
    revision = await applied(admin, api)
    # A process that began a moment ago.
    api.parts.events = EventLog(api.wall() + 60)
    headers = {**(await api.token()), "Last-Event-ID": "01234567-9-1000"}
    async with opened(api.app, PATH, headers) as reader:
        assert (await reader.next()) is not None  # gap
        told = await reader.until("change")
        while told.data["revision"] != revision:
            told = await reader.until("change")


async def test_events_that_are_no_longer_remembered_are_told_to_be_missing(api: Api) -> None:
    log = api.parts.events = EventLog(api.wall(), most=2)
    for number in range(5):
        log.add(Kind.STORE, api.wall() + number, "lost")
    headers = {**(await api.token()), "Last-Event-ID": f"{log.id}-1-1000"}
    async with opened(api.app, f"{PATH}?type=store", headers) as reader:
        kinds = [(await reader.next()) for _ in range(3)]
        assert [one.kind for one in kinds if one] == ["gap", "store", "store"]


@pytest.mark.parametrize("query", ["?type=strange", "?last=-1", "?last=1001", "?unknown=1"])
async def test_wrong_parameters_are_refused(reader: httpx.AsyncClient, query: str) -> None:
    assert (await reader.get(PATH + query)).status_code == 400


async def test_a_stream_ends_with_the_rights_of_its_caller(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RECHECK", 0.0)
    async with opened(api.app, PATH, await api.token()) as reader:
        api.wall.now += 3600.0
        api.parts.events.add(Kind.STORE, api.wall(), "lost")
        assert (await reader.until("end")).data["text"]
        assert await reader.next() is None


async def test_a_silent_stream_shows_that_it_is_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ALIVE", 0.01)
    async with opened(api.app, PATH, await api.token()) as reader:
        waiting = asyncio.create_task(reader.until("store"))
        await eventually(lambda: reader.comments > 1)
        api.parts.events.add(Kind.STORE, api.wall(), "lost")
        await waiting


async def test_streams_are_counted_and_end_at_the_stop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.parts.streams = streams.Streams(Bounds(8, of_caller=1))
    headers = await api.token()
    async with opened(api.app, PATH, headers) as first:
        await eventually(lambda: len(api.parts.streams))
        refused = await api.client.get(PATH, headers=headers)
        assert refused.status_code == 429 and refused.headers["Retry-After"]
        api.parts.streams.stopping.set()
        assert await first.next() is None
    assert not len(api.parts.streams)


async def test_a_client_that_takes_nothing_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "TAKE_WITHIN", 0.0)
    places = streams.Streams()

    async def parts() -> streams.Parts:
        while True:
            yield streams.COMMENT

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        if message.get("more_body"):
            await asyncio.Event().wait()

    request = Request({"type": "http", "client": None, "headers": []})
    stuck = streams.EventStream(parts(), places, places.take("ann", request))
    await stuck({"type": "http", "method": "GET"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert not len(places)


async def test_a_head_request_gets_the_head(api: Api) -> None:
    async with opened(api.app, PATH, await api.token(), "HEAD") as reader:
        assert reader.status == 200 and await reader.next() is None
