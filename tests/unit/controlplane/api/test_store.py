"""A store that misbehaves, as operators see it: frozen, said so, and published after their word."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from controlplane.model.resources import Scope
from controlplane.model.stored import encode, key_of
from controlplane.store import Delete, Put
from tests.support.api import Api, running_api
from tests.support.waiting import eventually

HEADERS = {"Content-Type": "application/json"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as api:
        await api.parts.commands.ensure_lineage("test")
        await eventually(lambda: api.parts.watcher.guard.good.lineage.id)
        api.parts.store = api.store
        api.prepared = 0  # type: ignore[attr-defined]

        async def prepare() -> None:
            api.prepared += 1  # type: ignore[attr-defined]

        api.parts.prepare_store = prepare
        yield api


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    api.client.headers.update(await api.token())
    return api.client


async def wipe(api: Api) -> None:
    """Everything is gone, as after `etcdctl del --prefix`."""
    entries = (await api.store.list("/headgate/v1/")).entries
    await api.store.commit({}, [Delete(entry.key) for entry in entries])
    await eventually(lambda: api.parts.watcher.frozen)


async def test_a_store_that_is_well(admin: httpx.AsyncClient) -> None:
    shown = (await admin.get("/api/v1/store")).raise_for_status().json()
    assert (shown["connected"], shown["frozen"], shown["reason"]) == (True, False, "")
    assert shown["lineage"] == shown["served"]["lineage"]
    assert shown["lineage"]["id"]


async def test_a_wiped_store_is_not_published_and_everybody_says_so(
    api: Api, admin: httpx.AsyncClient
) -> None:
    good = api.parts.watcher.current
    await wipe(api)
    assert api.parts.watcher.current is good
    shown = (await admin.get("/api/v1/store")).json()
    assert shown["frozen"] is True
    assert "emptied or replaced" in shown["reason"] and "headgate store confirm" in shown["reason"]
    health = (await admin.get("/health")).json()
    assert health["status"] == "degraded" and "headgate store confirm" in str(health["problems"])
    ready = await admin.get("/ready")
    assert ready.status_code == 200 and "headgate store confirm" in str(ready.json()["problems"])
    assert "headgate_controlplane_store_frozen 1.0" in (await admin.get("/metrics")).text


async def test_nothing_is_written_to_a_store_in_doubt(api: Api, admin: httpx.AsyncClient) -> None:
    await wipe(api)
    before = api.store.revision
    document = json.dumps({"scopes": [{"name": "a:b"}]})
    for method, path in (("POST", "/api/v1/apply"), ("PUT", "/api/v1/config/scopes/a:b")):
        refused = await admin.request(method, path, content=document, headers=HEADERS)
        assert refused.status_code == 503
        assert "Nothing was changed" in refused.json()["detail"]
    assert (await admin.delete("/api/v1/config/scopes/orders:read")).status_code == 503
    assert api.store.revision == before
    assert (await admin.get("/api/v1/services")).status_code == 200


async def test_operators_can_still_log_in(api: Api) -> None:
    await wipe(api)
    form = {"username": "admin", "password": "password"}
    assert (await api.client.post("/api/v1/auth/token", data=form)).status_code == 200


async def test_an_operator_confirms(api: Api, admin: httpx.AsyncClient) -> None:
    await wipe(api)
    await api.store.commit({}, [Put(key_of("scope", "new:scope"), encode(Scope(name="new:scope")))])
    answer = (await admin.post("/api/v1/store/confirm")).raise_for_status().json()
    assert "emptied" in answer["reason"]
    assert api.prepared == 1  # type: ignore[attr-defined]
    await eventually(lambda: not api.parts.watcher.frozen and not api.parts.watcher.problems)
    current = api.parts.watcher.current
    assert current is not None and current.revision >= answer["revision"]
    assert current.lineage.epoch == answer["lineage"]["epoch"] > 0
    assert not [kind for kind, _ in current.resources if kind == "user"]


async def test_confirming_takes_an_administrator(api: Api) -> None:
    for headers, status in (({}, 401), (await api.token("reader"), 403)):
        answer = await api.client.post("/api/v1/store/confirm", headers=headers)
        assert answer.status_code == status


async def test_what_went_to_another_store_is_not_called_done(api: Api, admin: httpx.AsyncClient) -> None:
    """The store was replaced a moment ago, and the watcher has not noticed."""
    api.parts.watcher.guard.lineage = type(api.parts.watcher.guard.lineage)("another", 0)
    answer = await admin.put(
        "/api/v1/config/scopes/x:y", content=json.dumps({"name": "x:y"}), headers=HEADERS
    )
    assert answer.status_code == 503
    assert "not the served one" in answer.json()["detail"]
