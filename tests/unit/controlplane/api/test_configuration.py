"""Create, read, update, delete, with ETags and conditions."""

from __future__ import annotations

import httpx
import pytest

from tests.support.api import Api

ORDERS = {"service_name": "orders"}
ROUTES = "/api/v1/config/routes"


def route(**fields: object) -> dict[str, object]:
    return {"prefix": "/orders", "service_name": "orders", **fields}


@pytest.fixture
async def orders(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client, after the service `orders` was created."""
    (await admin.post("/api/v1/config/services", json=ORDERS)).raise_for_status()
    return admin


async def test_a_life(orders: httpx.AsyncClient) -> None:
    created = await orders.post(ROUTES, json=route(name="orders"))
    assert created.status_code == 201
    assert created.headers["Location"] == f"{ROUTES}/orders"
    read = await orders.get(created.headers["Location"])
    assert (read.status_code, read.json()) == (200, created.json())
    assert read.headers["ETag"] == created.headers["ETag"]
    assert read.json()["max_body_bytes"] == 10 * 1024 * 1024

    condition = {"If-Match": read.headers["ETag"]}
    replaced = await orders.put(f"{ROUTES}/orders", json=route(methods=["GET"]), headers=condition)
    assert (replaced.status_code, replaced.json()["methods"]) == (200, ["GET"])
    stale = await orders.put(f"{ROUTES}/orders", json=route(), headers=condition)
    assert stale.status_code == 412
    assert stale.json()["detail"] == f"route 'orders' is at revision {replaced.headers['ETag'][1:-1]} now"

    stale = await orders.delete(f"{ROUTES}/orders", headers=condition)
    assert stale.status_code == 412
    gone = await orders.delete(f"{ROUTES}/orders", headers={"If-Match": replaced.headers["ETag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await orders.get(f"{ROUTES}/orders")).status_code == 404
    assert (await orders.delete(f"{ROUTES}/orders")).status_code == 404


async def test_writing_the_same_again_changes_nothing(orders: httpx.AsyncClient, api: Api) -> None:
    first = await orders.put(f"{ROUTES}/orders", json=route())
    before = api.store.revision
    second = await orders.put(f"{ROUTES}/orders", json=route())
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["ETag"] == second.headers["ETag"]
    assert api.store.revision == before


async def test_lists_are_sorted_and_also_under_the_plain_name(orders: httpx.AsyncClient) -> None:
    for name in ("b", "a"):
        await orders.put(f"{ROUTES}/{name}", json=route(prefix=f"/{name}"))
    listed = (await orders.get(ROUTES)).json()
    assert [found["name"] for found in listed] == ["a", "b"]
    shown = (await orders.get("/api/v1/routes")).json()
    assert (await orders.get("/api/v1/routes/a")).json() == shown[0]
    for one in shown:
        assert one.pop("status").keys() == {"revision", "serving", "connected"}
    assert shown == listed


async def test_a_client_that_has_it_gets_304(orders: httpx.AsyncClient) -> None:
    tag = (await orders.get("/api/v1/config/services/orders")).headers["ETag"]
    for condition, status in ((tag, 304), (f'W/{tag}, "1"', 304), ("*", 304), ('"1"', 200)):
        answer = await orders.get("/api/v1/config/services/orders", headers={"If-None-Match": condition})
        assert answer.status_code == status
        assert answer.headers["ETag"] == tag


async def test_a_client_that_has_a_list_gets_304(orders: httpx.AsyncClient) -> None:
    await orders.put(f"{ROUTES}/orders", json=route())
    first = await orders.get(ROUTES)
    known = {"If-None-Match": first.headers["ETag"]}

    async def status(path: str = ROUTES) -> int:
        return (await orders.get(path, headers=known)).status_code

    await orders.put("/api/v1/config/scopes/orders:write", json={})
    assert (await status(), await status(f"{ROUTES}?limit=1")) == (304, 304)
    assert await status("/api/v1/config/scopes") == await status("/api/v1/routes") == 200
    for change in (
        orders.put(f"{ROUTES}/orders", json=route(timeout=3.0)),
        orders.put(f"{ROUTES}/new", json=route(prefix="/new")),
        orders.delete(f"{ROUTES}/new"),
    ):
        assert (await change).is_success
        assert await status() == 200
        known["If-None-Match"] = (await orders.get(ROUTES)).headers["ETag"]
        assert await status() == 304


@pytest.mark.parametrize(
    ("header", "condition", "status"),
    [
        ("If-None-Match", "*", 412),
        ("If-Match", "*", 200),
        ("If-Match", '"999"', 412),
        ("If-Match", 'W/"{revision}"', 412),
        ("If-Match", '"999", "{revision}"', 200),
        ("If-Match", "{revision}", 400),
        ("If-None-Match", '"{revision}"', 400),
    ],
)
async def test_conditions_on_what_exists(
    orders: httpx.AsyncClient, header: str, condition: str, status: int
) -> None:
    created = await orders.put(f"{ROUTES}/orders", json=route())
    revision = created.headers["ETag"].strip('"')
    headers = {header: condition.format(revision=revision)}
    answer = await orders.put(f"{ROUTES}/orders", json=route(timeout=3.0), headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(("header", "status"), [("If-None-Match", 201), ("If-Match", 412)])
async def test_conditions_on_what_does_not_exist(orders: httpx.AsyncClient, header: str, status: int) -> None:
    answer = await orders.put(f"{ROUTES}/orders", json=route(), headers={header: "*"})
    assert answer.status_code == status


async def test_a_condition_in_two_fields_is_one_list(orders: httpx.AsyncClient) -> None:
    tag = (await orders.put(f"{ROUTES}/orders", json=route())).headers["ETag"]
    headers = [("If-Match", '"999"'), ("If-Match", tag)]
    assert (await orders.delete(f"{ROUTES}/orders", headers=headers)).status_code == 204


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_condition_is_heeded_by_every_change(orders: httpx.AsyncClient, method: str) -> None:
    await orders.put(f"{ROUTES}/orders", json=route())
    for condition, status in (("*", 412), ('"1"', 400)):
        headers = {"If-None-Match": condition, "Content-Type": "application/merge-patch+json"}
        answer = await orders.request(method, f"{ROUTES}/orders", content=b"{}", headers=headers)
        assert answer.status_code == status


async def test_creating_twice_is_a_conflict(orders: httpx.AsyncClient) -> None:
    answer = await orders.post("/api/v1/config/services", json=ORDERS)
    assert (answer.status_code, answer.json()["detail"]) == (409, "service 'orders' exists already")


async def test_everything_that_is_wrong_is_told_at_once(orders: httpx.AsyncClient, api: Api) -> None:
    before = api.store.revision
    wrong = route(service_name="nowhere", scopes=["no:scope"], colour="red", timeout=-1)
    answer = await orders.put(f"{ROUTES}/orders", json=wrong)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"service_name", "scopes[0]", "colour", "timeout"}
    assert answer.json()["detail"] == "The configuration has 4 problems; nothing was changed"
    assert api.store.revision == before


async def test_what_is_needed_cannot_be_deleted(orders: httpx.AsyncClient) -> None:
    await orders.put(f"{ROUTES}/orders", json=route())
    answer = await orders.delete("/api/v1/config/services/orders")
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"field": "", "detail": "service 'orders' is needed by route 'orders'"}
    ]
    assert answer.json()["needed_by"] == [{"kind": "route", "name": "orders"}]


async def test_a_dry_run_of_a_deletion_refuses_the_same_and_writes_nothing(
    orders: httpx.AsyncClient, api: Api
) -> None:
    await orders.put(f"{ROUTES}/orders", json=route())
    before = api.store.revision
    service = "/api/v1/config/services/orders"
    for path in (service, "/api/v1/users/admin", f"{ROUTES}/none"):
        dry, real = await orders.delete(f"{path}?dry_run=true"), await orders.delete(path)
        assert (dry.status_code, dry.json()) == (real.status_code, real.json())
        assert dry.status_code in (400, 404)
    assert (await orders.delete(f"{ROUTES}/orders?dry_run=true")).status_code == 204
    stale = await orders.delete(f"{ROUTES}/orders?dry_run=true", headers={"If-Match": '"1"'})
    assert (stale.status_code, api.store.revision) == (412, before)
    assert (await orders.get(f"{ROUTES}/orders")).status_code == 200
    assert (await orders.delete(f"{ROUTES}/orders?dry_run=perhaps")).status_code == 400


async def test_the_name_in_the_body_must_be_that_of_the_path(orders: httpx.AsyncClient) -> None:
    answer = await orders.put(f"{ROUTES}/orders", json=route(name="other"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "name"


async def test_a_user_is_shown_without_password_and_hash(admin: httpx.AsyncClient, api: Api) -> None:
    answer = await admin.put("/api/v1/config/users/jo", json={"password": "not to be seen"})
    fields = {"username": "jo", "scopes": [], "disabled": False, "description": "", "labels": {}}
    assert answer.json() == fields
    stored = await api.store.get("/headgate/v1/user/jo")
    assert stored is not None
    assert b"argon2id" in stored.value
    assert b"not to be seen" not in stored.value
    for path in ("/api/v1/users", "/api/v1/users/jo", "/api/v1/config/users"):
        assert "argon2" not in (await admin.get(path)).text


async def test_yaml_is_taken_as_well(admin: httpx.AsyncClient) -> None:
    document = b"retries: {on: [connect], attempts: 2}\ncheck_interval: 10"
    headers = {"Content-Type": "application/yaml"}
    answer = await admin.put("/api/v1/config/services/orders", content=document, headers=headers)
    assert answer.status_code == 201
    assert answer.json()["retries"] == {"attempts": 2, "on": ["connect"], "budget": 0.2}


async def test_nonsense_in_the_store_is_told_and_can_be_replaced(orders: httpx.AsyncClient, api: Api) -> None:
    from controlplane.store import Put

    await api.store.commit({}, [Put("/headgate/v1/route/orders", b"{")])
    answer = await orders.get(f"{ROUTES}/orders")
    assert answer.status_code == 500
    assert answer.json()["errors"] == [{"field": "route/orders", "detail": "is not JSON"}]
    assert (await orders.get(ROUTES)).json() == []
    assert (await orders.put(f"{ROUTES}/orders", json=route())).is_success
    assert (await orders.get(f"{ROUTES}/orders")).status_code == 200


async def test_issuers_are_not_built_yet(admin: httpx.AsyncClient) -> None:
    answer = await admin.put("/api/v1/config/issuers/elsewhere", json={"issuer": "elsewhere"})
    assert answer.status_code == 400
    assert "not built yet" in answer.text
    assert (await admin.get("/api/v1/issuers")).json() == []


@pytest.mark.parametrize("kind", ["config/routes", "routes"])
async def test_a_dry_run_of_one_resource(orders: httpx.AsyncClient, api: Api, kind: str) -> None:
    path, merge = f"/api/v1/{kind}/orders", {"Content-Type": "application/merge-patch+json"}
    made = await orders.put(path, json=route())
    before = api.store.revision
    for change in (
        orders.put(f"{path}?dry_run=true", json=route(timeout=3.0)),
        orders.patch(f"{path}?dry_run=true", json={"timeout": 3.0}, headers=merge),
        orders.put(f"/api/v1/{kind}/new?dry_run=true", json=route(prefix="/new", timeout=3.0)),
    ):
        answer = await change
        assert (answer.status_code, answer.json()["timeout"], answer.headers.get("ETag")) == (200, 3.0, None)
        assert answer.json().get("status", {}).get("revision", 0) == 0
    same = await orders.patch(f"{path}?dry_run=true", json={"timeout": None}, headers=merge)
    assert same.headers["ETag"] == made.headers["ETag"]
    wrong = await orders.patch(f"{path}?dry_run=true", json={"prefix": "x"}, headers=merge)
    assert wrong.status_code == 400
    for query in ("dry_run=true&wait=1", "dryrun=true", "quorum=1", "wait=x"):
        assert (await orders.patch(f"{path}?{query}", json={}, headers=merge)).status_code == 400
    assert api.store.revision == before


async def test_a_change_of_one_resource_waits_for_the_data_planes(
    orders: httpx.AsyncClient, api: Api
) -> None:
    merge = {"Content-Type": "application/merge-patch+json"}
    path = "/api/v1/routes/orders"
    assert (await orders.put(f"{path}?wait=30", json=route())).status_code == 201
    api.parts.fleet.hello("a", "0.1.0", 1, "digest")
    late = await orders.patch(f"{path}?wait=0", json={"timeout": 3.0}, headers=merge)
    assert (late.status_code, late.json()["revision"]) == (504, api.store.revision)
    assert [node["node"] for node in late.json()["nodes"]] == ["a"]
