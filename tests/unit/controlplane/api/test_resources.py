"""Reads and writes of resources under the same paths: status beside the fields, patches, selections, built-in ones."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx
import pytest
from starlette.datastructures import QueryParams
from starlette.requests import Request

from controlplane.api import body
from controlplane.api.openapi import describe
from controlplane.api.operation import Call
from controlplane.api.parts import Parts
from controlplane.api.selection import asked
from controlplane.api.table import operations
from controlplane.model.resources import Instance
from tests.support.api import Api

MERGE = {"Content-Type": "application/merge-patch+json"}
ORDERS = {
    "service_name": "orders",
    "instances": [{"instance_id": "a", "host": "192.0.2.1", "port": 9000}],
}


@pytest.fixture
async def orders(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client, after the service `orders` and a route to it were created."""
    (await admin.post("/api/v1/services", json=ORDERS)).raise_for_status()
    route = {"name": "orders", "prefix": "/orders", "service_name": "orders", "timeout": 3.0}
    (await admin.post("/api/v1/routes", json=route)).raise_for_status()
    return admin


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/v1/services", {"service_name": "new"}),
        ("/api/v1/routes", {"name": "new", "prefix": "/new", "service_name": "orders"}),
        ("/api/v1/scopes", {"name": "new"}),
        ("/api/v1/users", {"username": "new", "password": "password"}),
    ],
)
async def test_a_life_under_one_path(
    orders: httpx.AsyncClient, api: Api, path: str, document: dict[str, object]
) -> None:
    created = await orders.post(path, json=document)
    assert (created.status_code, created.headers["Location"]) == (201, f"{path}/new")
    one = created.headers["Location"]
    read = await orders.get(one)
    assert read.json() == created.json()
    revision = int(read.headers["ETag"].strip('"'))
    assert read.json()["status"]["revision"] == revision
    # What was read may be sent back, and changes nothing.
    again = await orders.put(one, json=read.json(), headers={"If-Match": read.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (200, read.headers["ETag"])
    changed = await orders.patch(one, json={"labels": {"team": "shop"}}, headers=MERGE)
    assert (changed.status_code, changed.json()["labels"]) == (200, {"team": "shop"})
    assert changed.json() in (await orders.get(path)).json()
    stale = await orders.delete(one, headers={"If-Match": read.headers["ETag"]})
    assert stale.status_code == 412
    assert (await orders.delete(one)).status_code == 204
    assert (await orders.get(one)).status_code == 404


async def test_how_many_data_planes_serve_a_resource(orders: httpx.AsyncClient, api: Api) -> None:
    revision = (await orders.get("/api/v1/routes/orders")).json()["status"]["revision"]
    for node, applied in (("a", revision), ("b", revision - 1)):
        api.parts.fleet.hello(node, "1")
        api.parts.fleet.ack(node, applied, "")
    status = {"revision": revision, "serving": 1, "connected": 2}
    assert (await orders.get("/api/v1/routes/orders")).json()["status"] == status
    assert (await orders.get("/api/v1/routes")).json()[0]["status"] == status
    # Data planes are not sent scopes.
    assert (await orders.get("/api/v1/scopes")).json()[0]["status"].keys() == {"revision"}


async def test_a_status_does_not_hide_behind_an_entity_tag(orders: httpx.AsyncClient) -> None:
    tag = (await orders.get("/api/v1/routes/orders")).headers["ETag"]
    answer = await orders.get("/api/v1/routes/orders", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["ETag"]) == (200, tag)


async def test_a_service_with_instances_may_be_sent_back(orders: httpx.AsyncClient, api: Api) -> None:
    registered = Instance(service_name="orders", instance_id="r", host="192.0.2.9", port=1)
    await api.parts.commands.register(registered, None, 15)
    await api.seen()
    read = (await orders.get("/api/v1/services/orders")).json()
    assert read["instances"].keys() == {"a", "r"}
    answer = await orders.put("/api/v1/services/orders", json=read)
    assert answer.json()["instances"].keys() == {"a", "r"}
    stored = (await orders.get("/api/v1/config/services/orders")).json()["instances"]
    assert [one["instance_id"] for one in stored] == ["a"]


async def test_instances_of_a_service_are_patched_one_by_one(orders: httpx.AsyncClient) -> None:
    patch = {"instances": {"a": {"weight": 5}, "b": {"host": "192.0.2.2", "port": 9000}}}
    answer = await orders.patch("/api/v1/services/orders", json=patch, headers=MERGE)
    shown = answer.json()["instances"]
    assert (shown["a"]["weight"], shown["a"]["port"], shown["b"]["host"]) == (5, 9000, "192.0.2.2")
    gone = await orders.patch("/api/v1/services/orders", json={"instances": {"a": None}}, headers=MERGE)
    assert gone.json()["instances"].keys() == {"b"}


async def test_a_patch_changes_what_it_names(orders: httpx.AsyncClient, api: Api) -> None:
    one = "/api/v1/routes/orders"
    answer = await orders.patch(one, json={"timeout": None, "methods": ["GET"]}, headers=MERGE)
    assert (answer.json()["timeout"], answer.json()["methods"]) == (None, ["GET"])
    assert answer.json()["prefix"] == "/orders"
    before = api.store.revision
    assert (await orders.patch(one, json={"methods": ["GET"]}, headers=MERGE)).status_code == 200
    assert api.store.revision == before

    wrong = await orders.patch(one, json={"colour": "red", "scopes": ["no:scope"]}, headers=MERGE)
    assert wrong.status_code == 400
    assert {error["field"] for error in wrong.json()["errors"]} == {"colour", "scopes[0]"}
    renamed = await orders.patch(one, json={"name": "other"}, headers=MERGE)
    said = {"field": "name", "detail": "must be 'orders', as in the path"}
    assert (renamed.status_code, said in renamed.json()["errors"]) == (400, True)
    assert (await orders.patch(one, json={}, headers={**MERGE, "If-Match": '"1"'})).status_code == 412
    assert (await orders.patch("/api/v1/routes/none", json={}, headers=MERGE)).status_code == 404


@pytest.mark.parametrize(
    "sent", ["application/json-patch+json", "application/strategic-merge-patch+json", "text/plain", ""]
)
async def test_a_patch_of_another_form_is_told_the_right_one(orders: httpx.AsyncClient, sent: str) -> None:
    headers = {"Content-Type": sent} if sent else {}
    answer = await orders.patch("/api/v1/routes/orders", content=b"{}", headers=headers)
    detail = (
        f"Content-Type {sent or 'is missing'}: send application/merge-patch+json (RFC 7396), as JSON or YAML"
    )
    assert (answer.status_code, answer.json()["detail"]) == (415, detail)
    accepted = "application/merge-patch+json, application/json, application/yaml"
    assert answer.headers["Accept-Patch"] == accepted
    described = describe(operations(), "")["paths"]["/api/v1/routes/{name}"]["patch"]
    assert "Accept-Patch" in described["responses"]["415"]["headers"]
    assert ", ".join(described["requestBody"]["content"]) == accepted


async def test_a_patch_keeps_the_password(orders: httpx.AsyncClient, api: Api) -> None:
    (await orders.post("/api/v1/users", json={"username": "jo", "password": "password"})).raise_for_status()
    await orders.patch("/api/v1/users/jo", json={"scopes": ["gateway:read"]}, headers=MERGE)
    await api.seen()
    assert (await orders.get("/api/v1/services", headers=await api.token("jo"))).status_code == 200
    await orders.patch("/api/v1/users/jo", json={"password": "another one"}, headers=MERGE)
    form = {"username": "jo", "password": "another one"}
    await api.seen()
    assert (await orders.post("/api/v1/auth/token", data=form)).status_code == 200


async def test_a_patch_of_nonsense_is_refused(orders: httpx.AsyncClient, api: Api) -> None:
    from controlplane.store import Put

    await api.store.commit({}, [Put("/headgate/v1/route/orders", b"{")])
    answer = await orders.patch("/api/v1/routes/orders", json={"timeout": 1.0}, headers=MERGE)
    assert answer.status_code == 500
    assert answer.json()["errors"][0]["field"] == "route/orders"


async def test_limits_are_written_beside_the_view_of_their_buckets(
    orders: httpx.AsyncClient, api: Api
) -> None:
    view, config = "/api/v1/rate-limits", "/api/v1/config/rate-limits"
    limit = {"name": "callers", "per_second": 5.0, "burst": 10}
    for method, path, where in (
        ("POST", view, config),
        ("PUT", f"{view}/callers", f"{config}/{{name}}"),
        ("PATCH", f"{view}/callers", f"{config}/{{name}}"),
        ("GET", f"{view}/callers", f"{config}/{{name}}"),
    ):
        refused = await orders.request(method, path, json=limit)
        assert refused.status_code == 405
        assert refused.json()["detail"].endswith(f". {method} {where} is")
    created = await orders.post(config, json=limit)
    assert (created.status_code, created.headers["Location"]) == (201, f"{config}/callers")
    assert (await orders.patch(f"{config}/callers", json={"burst": 20}, headers=MERGE)).status_code == 200
    await api.seen()
    (shown,) = (await orders.get(view)).json()
    assert (shown["name"], shown["burst"]) == ("callers", 20)
    # A key that is the name of a limit: the limit stays.
    assert (await orders.delete(f"{view}/callers")).status_code in (202, 404)
    assert (await orders.get(f"{config}/callers")).json()["burst"] == 20
    assert (await orders.delete(f"{config}/callers")).status_code == 204


async def test_lists_are_filtered_by_what_they_use(orders: httpx.AsyncClient) -> None:
    for name in ("b", "a", "c"):
        limits = ["slow"] if name == "c" else []
        route = {"prefix": f"/{name}", "service_name": "orders", "rate_limits": limits}
        await orders.put(
            "/api/v1/config/rate-limits/slow", json={"per_second": 1, "burst": 1, "key": "subject"}
        )
        (await orders.put(f"/api/v1/routes/{name}", json=route)).raise_for_status()
    await orders.put("/api/v1/services/other", json={})

    async def names(query: str) -> list[str]:
        return [one["name"] for one in (await orders.get(f"/api/v1/routes?{query}")).json()]

    by_service = await names("uses=service/orders")
    assert {"a", "b", "c"} <= set(by_service) and by_service == sorted(by_service)
    assert await names("uses=rate_limit/slow") == ["c"]
    assert await names("uses=service/other") == []
    page = await orders.get("/api/v1/routes?uses=service/orders&limit=1")
    assert [one["name"] for one in page.json()] == by_service[:1]
    assert "uses=service" in page.headers["Link"]
    for wrong in ("uses=orders", "uses=thing/orders", "uses=service/"):
        assert (await orders.get(f"/api/v1/routes?{wrong}")).status_code == 400


async def test_lists_are_filtered_by_label(orders: httpx.AsyncClient) -> None:
    for name, labels in (("a", {"team": "shop"}), ("b", {"team": "bank", "tier": "1"}), ("c", {"tier": "1"})):
        await orders.put(f"/api/v1/scopes/{name}", json={"labels": labels, "description": f"Scope {name}"})

    async def names(query: str, path: str = "/api/v1/scopes") -> list[str]:
        return [one["name"] for one in (await orders.get(f"{path}?{query}")).json()]

    assert await names("label=team=shop") == ["a"]
    assert await names("label=team") == ["a", "b"]
    assert await names("label=team&label=tier=1") == ["b"]
    assert await names("label=tier=1", "/api/v1/config/scopes") == ["b", "c"]
    assert await names("label=tier=2") == []
    # Selectors of other tools must not be taken for labels that nothing has.
    others = ("label=team%3Dshop,tier%3D1", "label=team+in+(shop)", "label=!team", "label=team!%3Dshop")
    for wrong in ("label==1", "label=", "labels=a", "label=team%3D%3Dshop", *others):
        assert (await orders.get(f"/api/v1/scopes?{wrong}")).status_code == 400


@pytest.mark.parametrize(
    "label", ["team!=shop", "team=shop,env=prod", "a b", "=shop", "", "t\u00e4m=x", "a=b=c"]
)
async def test_labels_that_no_resource_can_have(orders: httpx.AsyncClient, label: str) -> None:
    answer = await orders.get("/api/v1/scopes", params={"label": label})
    assert answer.status_code == 400
    assert "NAME=VALUE or NAME" in answer.json()["detail"]


async def test_a_label_is_looked_for_once_however_often_it_is_named() -> None:
    query = QueryParams([("label", "team=shop")] * 5000 + [("label", "team")])
    request = Request({"type": "http", "query_string": str(query).encode(), "headers": []})
    assert asked(Call(cast(Parts, None), request, "")).labels == (("team", "shop"), ("team", None))


async def test_a_patch_that_is_nested_as_deep_as_newer_pythons_read_it(
    orders: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    monkeypatch.setattr(body, "parse_json", lambda text: {"labels": deep})
    answer = await orders.patch("/api/v1/scopes/gateway:read", json={})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is nested too deeply")


async def test_lists_come_in_pages(orders: httpx.AsyncClient) -> None:
    for name in "abcde":
        await orders.put(f"/api/v1/scopes/{name}", json={"labels": {"of": "test"}})
    path, pages = "/api/v1/scopes?label=of=test&limit=2", []
    while path:
        answer = await orders.get(path)
        pages.append("".join(one["name"] for one in answer.json()))
        path = answer.links.get("next", {}).get("url", "")
    assert pages == ["ab", "cd", "e"]
    services = await orders.get("/api/v1/services?limit=1")
    assert (len(services.json()), services.links) == (1, {})
    for wrong in ("0", "1001", "-1", "two", ""):
        assert (await orders.get(f"/api/v1/scopes?limit={wrong}")).status_code == 400


@pytest.mark.parametrize(
    ("labels", "field"),
    [({"a b": "1"}, "labels.a b"), ({"a": "x" * 64}, "labels.a"), ({"a": 1}, "labels.a"), (["a"], "labels")],
)
async def test_wrong_labels(orders: httpx.AsyncClient, labels: object, field: str) -> None:
    answer = await orders.patch("/api/v1/routes/orders", json={"labels": labels}, headers=MERGE)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_applied_labels_are_kept_and_empty_ones_not_stored(orders: httpx.AsyncClient, api: Api) -> None:
    scope = {"name": "a", "labels": {"team": "shop"}, "description": "For the shop"}
    (await orders.post("/api/v1/apply", json={"scopes": [scope, {"name": "b"}]})).raise_for_status()
    assert (await orders.get("/api/v1/config/scopes/a")).json() == scope
    stored = await api.store.get("/headgate/v1/scope/b")
    assert stored is not None and stored.value == b'{"name": "b"}'


async def test_built_in_resources_are_deleted_by_force_alone(orders: httpx.AsyncClient, api: Api) -> None:
    route = {"prefix": "/api/v1", "service_name": "orders", "public": True}
    for path in ("/api/v1/routes/headgate-api", "/api/v1/config/routes/headgate-api"):
        (await orders.put(path, json=route)).raise_for_status()
        before = api.store.revision
        answer = await orders.delete(path)
        assert (answer.status_code, api.store.revision) == (409, before)
        assert answer.json()["detail"] == (
            "route 'headgate-api' is built in: without it the gateway no longer routes /api/v1 to the admin API. "
            "force=true deletes it; it is not created again"
        )
        assert (await orders.delete(f"{path}?force=perhaps")).status_code == 400
        assert (await orders.delete(f"{path}?force=true")).status_code == 204
    needed = await orders.delete("/api/v1/scopes/gateway:admin?force=true")
    assert "is needed by user 'admin'" in needed.text


DEFEATS: list[dict[str, object]] = [
    {"prefix": "/admin"},
    {"prefix": None, "path": "/api/v1"},
    {"service_name": "orders"},
    {"methods": ["POST"]},
    {"strip_prefix": True},
    {"rewrite": "/elsewhere"},
    {"hosts": ["admin.example"]},
    {"public": False},
]


@pytest.mark.parametrize("change", DEFEATS, ids=str)
async def test_a_change_that_defeats_the_built_in_route_needs_force(
    orders: httpx.AsyncClient, api: Api, change: dict[str, object]
) -> None:
    route = {"name": "headgate-api", "prefix": "/api/v1", "service_name": "controlplane", "public": True}
    document = {"services": [{"service_name": "controlplane"}], "routes": [route]}
    (await orders.post("/api/v1/apply", json=document)).raise_for_status()
    changed = {field: value for field, value in {**route, **change}.items() if value is not None}
    path, before = "/api/v1/config/routes/headgate-api", api.store.revision
    patch: dict[str, Any] = {"headers": MERGE, "content": json.dumps(change)}
    refusals = (
        await orders.put(path, json=changed),
        await orders.patch(path, **patch),
        await orders.post("/api/v1/apply", json={"routes": [changed]}),
        await orders.post("/api/v1/apply?dry_run=true", json={"routes": [changed]}),
    )
    for refused in refusals:
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "route 'headgate-api' is built in: with this change the gateway no longer routes /api/v1 to the admin "
            "API. force=true makes the change",
        )
    assert api.store.revision == before
    assert (await orders.put(f"{path}?force=true", json=changed)).status_code == 200
    # It leads there no longer, and back.
    assert (await orders.put(path, json={**changed, "labels": {"a": "b"}})).status_code == 200
    assert (await orders.put(path, json=route)).status_code == 200
    assert (await orders.patch(f"{path}?force=true", **patch)).status_code == 200
    assert (await orders.put(path, json=route)).status_code == 200
    applied = await orders.post("/api/v1/apply?force=true", json={"routes": [changed]})
    assert applied.status_code == 200, applied.text


@pytest.mark.parametrize(
    "change",
    [{"prefix": "/api"}, {"methods": ["GET"]}, {"timeout": 5.0}],
    ids=str,
)
async def test_other_changes_of_the_built_in_route_need_no_force(
    orders: httpx.AsyncClient, change: dict[str, object]
) -> None:
    route = {"name": "headgate-api", "prefix": "/api/v1", "service_name": "controlplane", "public": True}
    document = {"services": [{"service_name": "controlplane"}], "routes": [route]}
    (await orders.post("/api/v1/apply", json=document)).raise_for_status()
    answer = await orders.put("/api/v1/config/routes/headgate-api", json={**route, **change})
    assert answer.status_code == 200
