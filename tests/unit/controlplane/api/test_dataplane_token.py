"""Tokens for the data planes of a pool: who may make them, for whom, for how long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import NOBODY, READER, Api

PATH = "/api/v1/auth/dataplane-token"


async def test_it_names_the_pool_and_its_end(api: Api) -> None:
    answer = await api.client.post(PATH, json={"pool": "edge"}, headers=await api.token())
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert (made["pool"], made["node"], made["expires_in"]) == ("edge", None, 90 * 86_400)
    claims = api.parts.issuer().verify_dataplane(made["token"])
    assert (claims.pool, claims.node) == ("edge", None)
    assert claims.expires == pytest.approx(api.wall.now + made["expires_in"], abs=1)


async def test_it_may_be_for_one_data_plane(api: Api) -> None:
    body = {"pool": "edge", "node": "gw-1", "ttl": 60}
    made = (await api.client.post(PATH, json=body, headers=await api.token())).json()
    assert api.parts.issuer().verify_dataplane(made["token"]).node == "gw-1"


async def test_it_opens_nothing_of_the_admin_api(api: Api) -> None:
    answer = await api.client.post(PATH, json={"pool": "edge"}, headers=await api.token())
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 401


@pytest.mark.parametrize("username", [READER, NOBODY])
async def test_only_administrators_make_them(api: Api, username: str) -> None:
    answer = await api.client.post(PATH, json={"pool": "a"}, headers=await api.token(username))
    assert answer.status_code == 403
    assert (await api.client.post(PATH, json={"pool": "a"})).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pool"),
        ({"pool": "Edge!"}, "pool"),
        ({"pool": "edge", "node": "gw 1"}, "node"),
        ({"pool": "edge", "ttl": 59}, "ttl"),
        ({"pool": "edge", "pools": ["west"]}, "pools"),
    ],
)
async def test_requests_that_make_no_sense(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.client.post(PATH, json=body, headers=await api.token())
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_pool_lives_like_any_other_resource(api: Api) -> None:
    admin = await api.token()
    unknown = {"services": [{"service_name": "s"}]} | {
        "routes": [{"name": "r", "prefix": "/r", "service_name": "s", "pools": ["edge", "default"]}]
    }
    refused = await api.client.post("/api/v1/apply", json=unknown, headers=admin)
    assert refused.status_code == 400
    assert refused.json()["errors"] == [
        {"field": "routes[0].pools[0]", "detail": "pool 'edge' does not exist"}
    ]
    document = {**unknown, "pools": [{"name": "edge"}]}
    assert (await api.client.post("/api/v1/apply", json=document, headers=admin)).status_code == 200
    needed = await api.client.delete("/api/v1/config/pools/edge", headers=admin)
    assert "is needed by route 'r'" in needed.text
    wrong = await api.client.put("/api/v1/config/pools/default", json={}, headers=admin)
    assert "is the pool of the data planes whose credential names none" in wrong.text
