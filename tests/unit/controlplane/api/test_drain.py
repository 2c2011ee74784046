"""Draining an instance over the admin API."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from controlplane.model.resources import Instance, Service
from tests.support.api import Api
from tests.support.waiting import eventually

DRAIN = "/api/v1/services/orders/instances/a/drain"


@pytest.fixture
async def registered(api: Api) -> None:
    instance = Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=80)
    await api.parts.commands.register(instance, Service(service_name="orders"), 15)
    await api.seen()


async def status(admin: httpx.AsyncClient) -> str:
    service = (await admin.get("/api/v1/services/orders")).json()
    return str(service["instances"]["a"]["status"])


async def test_without_a_wait(registered: None, admin: httpx.AsyncClient, api: Api) -> None:
    answer = await admin.post(DRAIN)
    assert (answer.status_code, answer.json()) == (202, {"revision": api.store.revision})
    await api.seen()
    assert await status(admin) == "draining"
    again = await admin.post(DRAIN)
    assert again.json() == answer.json()


async def test_an_instance_is_let_in_again(registered: None, admin: httpx.AsyncClient, api: Api) -> None:
    nothing = await admin.delete(DRAIN)
    assert (nothing.status_code, nothing.json()) == (202, {"revision": api.store.revision})
    await admin.post(DRAIN)
    await api.seen()
    assert await status(admin) == "draining"
    answer = await admin.delete(DRAIN)
    assert (answer.status_code, answer.json()) == (202, {"revision": api.store.revision})
    await api.seen()
    assert await status(admin) == "starting"
    entry = await api.store.get("/headgate/v1/instance/orders/a")
    assert entry is not None and entry.lease
    assert (await admin.delete("/api/v1/services/orders/instances/b/drain")).status_code == 404


async def test_an_instance_whose_process_ends_is_not_let_in_again(
    registered: None, admin: httpx.AsyncClient, api: Api
) -> None:
    await api.parts.commands.drain("orders", "a", hold=30)
    answer = await admin.delete(DRAIN)
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "instance 'orders/a' was deregistered by its own processes: it returns when they register it again"
    )


async def test_waits_for_the_last_request(registered: None, admin: httpx.AsyncClient, api: Api) -> None:
    fleet = api.parts.fleet
    fleet.hello("gw-1", "1")
    asking = asyncio.create_task(admin.post(f"{DRAIN}?wait=30"))
    await eventually(lambda: api.parts.snapshot().of(Instance)["orders/a"].draining)
    current = api.parts.snapshot()
    fleet.leaving("gw-1", {("orders", "a"): 2})
    fleet.ack("gw-1", current.revision, current.digest)
    fleet.leaving("gw-1", {("orders", "a"): 1})
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done
    fleet.leaving("gw-1", {("payments", "a"): 1})
    answer = await asking
    assert (answer.status_code, answer.json()["state"]) == (200, "served")


async def test_too_late(registered: None, admin: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.hello("gw-1", "1", 0, "", {("orders", "a"): 1})
    answer = await admin.post(f"{DRAIN}?wait=0.05")
    assert answer.status_code == 504
    assert answer.json()["detail"] == (
        "Instance orders/a takes no new requests, but is not drained: gw-1 (serves revision 0)"
    )


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/services/orders/instances/b/drain", 404),
        ("/api/v1/services/nobody/instances/a/drain", 404),
        (f"{DRAIN}?wait=301", 400),
        (f"{DRAIN}?quorum=1", 400),
        (f"{DRAIN}?wait=1&quorum=1", 400),
    ],
)
async def test_drains_that_make_no_sense(
    registered: None, admin: httpx.AsyncClient, api: Api, path: str, code: int
) -> None:
    before = api.store.revision
    assert (await admin.post(path)).status_code == code
    assert api.store.revision == before
