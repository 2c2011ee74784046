"""The table of operations against the application, and against the description made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from controlplane.api.openapi import describe
from controlplane.api.operation import Operation
from controlplane.api.table import operations
from tests.support.api import Api

DOCUMENT = describe(operations(), "1.2.3")


def address(operation: Operation, revision: int = 1) -> str:
    path = operation.path.replace("{revision}", str(revision))
    query = f"?from={revision}" if path.endswith("/diff") else ""
    return re.sub(r"{\w+(:path)?}", "orders", path) + query


def all_references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from all_references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_references(inner)


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
async def test_every_operation_is_there_and_guarded(api: Api, operation: Operation) -> None:
    answer = await api.client.request(operation.method, address(operation))
    if operation.tag == "dashboard":
        return  # what is public there depends on cookies and on where a request comes from: test_session.py
    if operation.access == "public":
        assert answer.status_code not in (401, 403, 404, 405)
        return
    assert answer.status_code == 401
    needed = await api.client.request(operation.method, address(operation), headers=await api.token("nobody"))
    assert needed.status_code == 403
    assert f'scope="{operation.access}"' in needed.headers["WWW-Authenticate"]
    usual = "gateway:read" if operation.method == "GET" else "gateway:admin"
    assert operation.access == {"tap": "gateway:tap", "explain": "gateway:read"}.get(operation.id, usual)


async def test_every_read_answers_as_described(admin: httpx.AsyncClient, api: Api) -> None:
    document = {
        "services": [
            {
                "service_name": "orders",
                "instances": [{"instance_id": "orders", "host": "192.0.2.1", "port": 80}],
            }
        ],
        "scopes": [{"name": "orders"}],
        "users": [{"username": "orders"}],
        "rate_limits": [{"name": "orders", "per_second": 1, "burst": 1}],
        "listeners": [{"name": "orders", "port": 8080}],
        "pools": [{"name": "orders"}],
        "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders"}],
    }
    applied = (await admin.post("/api/v1/apply", json=document)).raise_for_status()
    revision = applied.json()["revision"]
    await api.seen()
    for operation in operations():
        if (
            operation.method != "GET"
            or "issuers/" in operation.path
            or "certificates/" in operation.path  # needs a key to encrypt private keys with
            or operation.path in ("/metrics", "/docs", "/assets/{name}")
            or operation.answers[0].media_type == "text/event-stream"
        ):
            continue
        answer = await admin.get(address(operation, revision))
        assert answer.status_code == 200, operation.path
        described = DOCUMENT["paths"][re.sub(":path", "", operation.path)]["get"]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]
        whole = {**schema, "components": DOCUMENT["components"]}
        Draft202012Validator(whole).validate(answer.json())


async def test_problems_answer_as_described(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/v1/apply", json={"routes": [{}]})
    schema = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(answer.json())


async def test_the_description_is_served(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/api/v1/openapi.json")).json() == DOCUMENT


def test_ids_are_unique_and_references_lead_somewhere() -> None:
    described = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in described]
    assert len(set(ids)) == len(ids) == len(operations())
    schemas: dict[str, Any] = DOCUMENT["components"]["schemas"]
    for reference in all_references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_no_operation_hides_another() -> None:
    for one in operations():
        shape = [segment for segment in one.path.split("/") if segment]
        for other in operations():
            if one.path == other.path or one.method != other.method:
                continue
            steps = [segment for segment in other.path.split("/") if segment]
            if not shape or ":path" not in shape[-1]:
                hidden = len(shape) == len(steps) and all(
                    a == b or a.startswith("{") for a, b in zip(shape, steps, strict=True)
                )
            else:
                hidden = steps[: len(shape) - 1] == shape[:-1]
            assert not hidden, f"{one.method} {one.path} and {other.path}"


def test_summaries_have_the_right_article() -> None:
    for operation in operations():
        assert not re.search(r"\b(a [aeio]|an [^aeio])", operation.summary), operation.summary


def test_every_body_has_an_example() -> None:
    for operation in operations():
        if operation.body and "issuers" not in operation.path:  # announced, not built yet
            assert operation.body.example, operation.id


def test_path_parameters_are_described() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            described = {entry["name"] for entry in operation["parameters"] if entry["in"] == "path"}
            assert described == set(re.findall(r"{(\w+)}", path))


async def test_unknown_paths_and_methods(admin: httpx.AsyncClient) -> None:
    for path in ("/api/v1", "/api/v1/nothing", "/api/v1/config/colours", "/api/v1/services/"):
        answer = await admin.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
    one = "/api/v1/config/routes/orders"
    allowed = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    answer = await admin.post(one)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    said = f"POST is not allowed here; allowed: {allowed}. POST /api/v1/config/routes is"
    assert answer.json()["detail"] == said
    answer = await admin.put("/api/v1/routes")
    assert answer.json()["detail"].endswith(". PUT /api/v1/routes/{name} is")
    answer = await admin.options(one)
    assert (answer.status_code, answer.headers["Allow"]) == (204, allowed)
    assert answer.headers["Accept-Patch"].startswith("application/merge-patch+json")
    assert (await admin.head("/api/v1/services")).status_code == 200
