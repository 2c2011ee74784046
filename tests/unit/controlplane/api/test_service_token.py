"""Tokens for services: who may make them, for whom, for how long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import NOBODY, READER, Api

PATH = "/api/v1/auth/service-token"


async def test_it_names_the_service_and_its_end(api: Api) -> None:
    answer = await api.client.post(PATH, json={"service_name": "orders"}, headers=await api.token())
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert (made["service_name"], made["expires_in"]) == ("orders", 90 * 86_400)
    claims = api.parts.issuer().verify_service(made["token"])
    assert claims.service == "orders"
    assert claims.expires == pytest.approx(api.wall.now + made["expires_in"], abs=1)


async def test_it_opens_nothing_of_the_admin_api(api: Api) -> None:
    answer = await api.client.post(PATH, json={"service_name": "orders"}, headers=await api.token())
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 401


@pytest.mark.parametrize("username", [READER, NOBODY])
async def test_only_administrators_make_them(api: Api, username: str) -> None:
    answer = await api.client.post(PATH, json={"service_name": "a"}, headers=await api.token(username))
    assert answer.status_code == 403
    assert (await api.client.post(PATH, json={"service_name": "a"})).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "service_name"),
        ({"service_name": "Orders!"}, "service_name"),
        ({"service_name": "orders", "ttl": 59}, "ttl"),
        ({"service_name": "orders", "ttl": 366 * 86_400 + 1}, "ttl"),
        ({"service_name": "orders", "ttl": "60"}, "ttl"),
        ({"service_name": "orders", "scopes": ["gateway:admin"]}, "scopes"),
    ],
)
async def test_requests_that_make_no_sense(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.client.post(PATH, json=body, headers=await api.token())
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
