"""The past over HTTP: lists, single changes, differences, rollbacks and what is wrong with asking for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api import Api

ROUTE: dict[str, Any] = {"name": "orders", "prefix": "/orders", "service_name": "orders"}
DOCUMENT: dict[str, Any] = {"services": [{"service_name": "orders"}], "routes": [ROUTE]}


async def apply(admin: httpx.AsyncClient, **document: Any) -> int:
    answer = (await admin.post("/api/v1/apply", json=document)).raise_for_status()
    return int(answer.json()["revision"])


async def test_the_newest_first_and_page_by_page(admin: httpx.AsyncClient) -> None:
    first = await apply(admin, **DOCUMENT)
    second = await apply(admin, routes=[{**ROUTE, "prefix": "/o"}])
    found = (await admin.get("/api/v1/history?limit=2")).json()
    assert [record["revision"] for record in found] == [second, first]
    assert found[0]["author"] == "admin"
    assert found[0]["time"].endswith("Z")
    assert found[0]["changes"] == [{"action": "update", "kind": "route", "name": "orders"}]
    page = (await admin.get(f"/api/v1/history?before={first}")).json()
    assert [record["author"] for record in page] == ["test"]


async def test_changes_of_some_resources(admin: httpx.AsyncClient) -> None:
    first = await apply(admin, **DOCUMENT)
    second = await apply(admin, routes=[{**ROUTE, "prefix": "/o"}])
    third = await apply(admin, services=[{"service_name": "orders", "description": "new"}])
    for query, revisions in (
        ("resource=route/orders", [second, first]),
        ("resource=service/orders", [third, first]),
        ("resource=service/orders&resource=route/orders&limit=2", [third, second]),
        ("resource=instance/orders/orders-1", []),
    ):
        found = (await admin.get(f"/api/v1/history?{query}")).json()
        assert [record["revision"] for record in found] == revisions, query
    for query in ("resource=orders", "resource=none/orders", "resource=route/", "&resource=route/x" * 21):
        assert (await admin.get(f"/api/v1/history?{query}")).status_code == 400


async def test_one_change(admin: httpx.AsyncClient) -> None:
    await apply(admin, **DOCUMENT)
    revision = await apply(admin, routes=[{**ROUTE, "prefix": "/o"}])
    found = (await admin.get(f"/api/v1/history/{revision}")).json()
    (edit,) = found["edits"]
    assert edit["before"]["prefix"] == "/orders"
    assert edit["after"]["prefix"] == "/o"
    assert edit["fields"] == [{"field": "prefix", "before": "/orders", "after": "/o"}]
    assert (await admin.get(f"/api/v1/history/{revision + 1}")).status_code == 404


async def test_nothing_secret_is_shown(admin: httpx.AsyncClient) -> None:
    for record in (await admin.get("/api/v1/history")).json():
        shown = await admin.get(f"/api/v1/history/{record['revision']}")
        assert "argon2" not in shown.text
        assert "password_hash" not in shown.text


async def test_differences(admin: httpx.AsyncClient) -> None:
    first = await apply(admin, **DOCUMENT)
    second = await apply(admin, routes=[{**ROUTE, "prefix": "/o"}])
    await admin.delete("/api/v1/config/routes/orders")
    between = (await admin.get(f"/api/v1/diff?from={first}&to={second}")).json()
    assert [(one["action"], one["fields"][0]["after"]) for one in between] == [("update", "/o")]
    now = (await admin.get(f"/api/v1/diff?from={first}")).json()
    assert [(one["action"], one["after"]) for one in now] == [("delete", None)]


async def test_back(admin: httpx.AsyncClient, api: Api) -> None:
    first = await apply(admin, **DOCUMENT)
    await apply(admin, routes=[{**ROUTE, "prefix": "/o"}])
    before = api.store.revision
    for dry in ({"json": {"to": first, "dry_run": True}}, {"json": {"to": first}, "params": "dry_run=true"}):
        answer = await admin.post("/api/v1/rollback", **dry)
        assert answer.json()["changes"] == [{"action": "update", "kind": "route", "name": "orders"}]
        assert api.store.revision == before
    done = await admin.post("/api/v1/rollback?wait=5", json={"to": first})
    assert done.status_code == 200
    assert done.json()["state"] == "served"
    assert (await admin.get("/api/v1/config/routes/orders")).json()["prefix"] == "/orders"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "to"),
        ({"to": "1"}, "to"),
        ({"to": 0}, "to"),
        ({"to": True}, "to"),
        ({"to": 1.0}, "to"),
        ({"to": 2**63}, "to"),
        ({"to": 1, "dry_run": "yes"}, "dry_run"),
        ({"to": 1, "form": 1}, "form"),
    ],
)
async def test_rollbacks_that_make_no_sense(
    admin: httpx.AsyncClient, api: Api, body: dict[str, object], detail: str
) -> None:
    before = api.store.revision
    answer = await admin.post("/api/v1/rollback", json=body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [detail]
    assert api.store.revision == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("history?limit=0", 400),
        ("history?limit=1001", 400),
        ("history?limit=x", 400),
        ("history?before=-1", 400),
        ("history?after=1", 400),
        ("history/x", 404),
        ("history/0", 404),
        ("diff", 400),
        ("diff?to=1", 400),
        ("diff?from=x", 400),
        ("diff?from=1&to=1&x=1", 400),
        ("diff?from=99999999", 404),
        ("diff?from=1", 404),
    ],
)
async def test_questions_that_make_no_sense(admin: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await admin.get(f"/api/v1/{path}")).status_code == status


async def test_a_future_to_go_back_to(admin: httpx.AsyncClient, api: Api) -> None:
    answer = await admin.post("/api/v1/rollback", json={"to": api.store.revision + 1})
    assert answer.status_code == 404


async def test_readers_may_look_and_not_go_back(reader: httpx.AsyncClient) -> None:
    assert (await reader.get("/api/v1/history")).status_code == 200
    assert (await reader.post("/api/v1/rollback", json={"to": 1})).status_code == 403


async def test_a_rollback_that_takes_the_admin_api_from_the_gateway_needs_force(
    admin: httpx.AsyncClient, api: Api
) -> None:
    route = {"name": "headgate-api", "prefix": "/elsewhere", "service_name": "controlplane", "public": True}
    without = await apply(admin, services=[{"service_name": "controlplane"}])
    defeated = await apply(admin, routes=[route])
    await apply(admin, routes=[{**route, "prefix": "/api/v1"}])
    before = api.store.revision
    for to, expected in ((defeated, "with this change the gateway"), (without, "without it the gateway")):
        for query in ("", "?dry_run=true"):
            refused = await admin.post(f"/api/v1/rollback{query}", json={"to": to})
            assert refused.status_code == 409
            assert expected in refused.json()["detail"]
    assert api.store.revision == before
    for to in (defeated, without):
        assert (await admin.post("/api/v1/rollback?force=true", json={"to": to})).status_code == 200
