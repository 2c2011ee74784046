"""Changes that are waited for, and how far the fleet is with a revision."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from controlplane.fleet.reports import NodeProblem
from tests.support.api import Api
from tests.support.waiting import eventually

APPLY = "/api/v1/apply"
DOCUMENT: dict[str, Any] = {"services": [{"service_name": "orders"}]}


async def acknowledged(api: Api, *nodes: str) -> None:
    """Have these nodes serve what is published once it is there."""
    await api.seen()
    current = api.parts.snapshot()
    for node in nodes:
        api.parts.fleet.ack(node, current.revision, current.digest)


async def test_a_change_that_is_served(admin: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.hello("gw-1", "1")
    asking = asyncio.create_task(admin.post(f"{APPLY}?wait=30", json=DOCUMENT))
    before = api.store.revision
    await eventually(lambda: api.store.revision > before)
    await acknowledged(api, "gw-1")
    answer = await asking
    assert answer.status_code == 200
    receipt = answer.json()
    assert receipt["revision"] == api.store.revision
    assert receipt["digest"] == api.parts.snapshot().digest
    assert receipt["changes"][0]["action"] == "create"
    assert [(node["node"], node["done"]) for node in receipt["nodes"]] == [("gw-1", True)]


async def test_a_change_that_takes_too_long_is_written(admin: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.hello("gw-1", "1")
    answer = await admin.post(f"{APPLY}?wait=0.05", json=DOCUMENT)
    assert answer.status_code == 504
    problem = answer.json()
    revision = api.store.revision
    assert problem["detail"] == (
        f"The change is written at revision {revision}, but only 0 of 1 data plane serves it after 0.05 s; "
        "not yet: gw-1 (serves revision 0)"
    )
    assert (problem["revision"], problem["state"]) == (revision, "waiting")
    assert problem["changes"][0]["name"] == "orders"
    assert problem["nodes"][0]["applied_revision"] == 0


async def test_a_change_that_is_rejected(admin: httpx.AsyncClient, api: Api) -> None:
    await admin.post(APPLY, json=DOCUMENT)
    await api.seen()
    current = api.parts.snapshot()
    api.parts.fleet.hello("gw-1", "1")
    api.parts.fleet.nack("gw-1", current.revision, [NodeProblem("service/orders", "", "odd")], current.digest)
    answer = await admin.post(f"{APPLY}?wait=300", json=DOCUMENT)
    assert answer.status_code == 409
    assert "gw-1 (serves revision 0, rejected" in answer.json()["detail"]
    assert answer.json()["nodes"][0]["rejection"]["problems"][0]["detail"] == "odd"


async def test_a_quorum_is_enough(admin: httpx.AsyncClient, api: Api) -> None:
    for node in ("gw-1", "gw-2"):
        api.parts.fleet.hello(node, "1")
    await admin.post(APPLY, json=DOCUMENT)
    await acknowledged(api, "gw-1")
    for quorum, status in (("1", 200), ("50%25", 200), ("51%25", 504), ("all", 504), ("3", 504)):
        answer = await admin.post(f"{APPLY}?wait=0&quorum={quorum}", json=DOCUMENT)
        assert (quorum, answer.status_code) == (quorum, status)
    await acknowledged(api, "gw-2")
    detail = (await admin.post(f"{APPLY}?wait=0&quorum=5", json=DOCUMENT)).json()["detail"]
    assert detail.endswith(
        "only 2 of 5 data planes serve it after 0 s; no more than 2 data planes are connected"
    )


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("wait=", "wait must be 0 to 300 seconds"),
        ("wait=-1", "wait must be"),
        ("wait=301", "wait must be"),
        ("wait=nan", "wait must be"),
        ("wait=soon", "wait must be"),
        ("wait=1&quorum=0", "quorum must be"),
        ("quorum=2", "quorum has no meaning without wait"),
        ("wait=1&dry_run=true", "A dry run writes nothing"),
        ("wait=1&until=2", "Unknown parameter 'until'"),
    ],
)
async def test_waits_that_make_no_sense(admin: httpx.AsyncClient, api: Api, query: str, detail: str) -> None:
    before = api.store.revision
    answer = await admin.post(f"{APPLY}?{query}", json=DOCUMENT)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert api.store.revision == before


async def test_rollouts(reader: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.hello("gw-1", "1")
    revision = api.parts.snapshot().revision
    seen = (await reader.get(f"/api/v1/rollouts/{revision}")).json()
    assert (seen["state"], seen["serving"], seen["needed"]) == ("waiting", 0, 1)
    asking = asyncio.create_task(reader.get(f"/api/v1/rollouts/{revision}?wait=30"))
    await acknowledged(api, "gw-1")
    assert (await asking).json()["state"] == "served"
    future = (await reader.get(f"/api/v1/rollouts/{revision + 1000}?wait=0")).json()
    assert (future["state"], future["digest"]) == ("waiting", "")
    assert f"this control plane has not read revision {revision + 1000} yet" in future["problem"]


@pytest.mark.parametrize("revision", ["0", "-1", "x", "1.5", "9" * 30, "%C2%B2"])
async def test_no_revisions(reader: httpx.AsyncClient, revision: str) -> None:
    assert (await reader.get(f"/api/v1/rollouts/{revision}")).status_code == 404


async def test_looking_takes_a_token(api: Api) -> None:
    assert (await api.client.get("/api/v1/rollouts/1")).status_code == 401
