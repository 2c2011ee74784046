"""`GET /config`: everything as one document, or an error."""

from __future__ import annotations

import httpx

from controlplane.model.stored import key_of
from controlplane.store import Put
from tests.support.api import Api

CONFIG, APPLY = "/api/v1/config", "/api/v1/apply"
A = {"team": "a"}
DOCUMENT = {
    "services": [{"service_name": "orders", "labels": A}],
    "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders"}],
    "users": [{"username": "jo", "password": "a-long-password"}],
}


async def test_it_applies_back_unchanged(admin: httpx.AsyncClient) -> None:
    (await admin.post(APPLY, json=DOCUMENT)).raise_for_status()
    answer = await admin.get(CONFIG)
    assert answer.headers["X-Headgate-Revision"]
    document = answer.json()
    assert [one["name"] for one in document["routes"]] == ["orders"]
    assert "rate_limits" not in document
    assert "argon2" not in answer.text
    receipt = (await admin.post(f"{APPLY}?prune=true&all=true", json=document)).json()
    assert {change["action"] for change in receipt["changes"]} == {"unchanged"}


async def test_by_label(admin: httpx.AsyncClient) -> None:
    (await admin.post(APPLY, json=DOCUMENT)).raise_for_status()
    document = (await admin.get(CONFIG, params={"label": "team=a"})).json()
    assert {plural: len(listed) for plural, listed in document.items()} == {"services": 1}
    assert (await admin.get(CONFIG, params={"label": ""})).status_code == 400
    assert (await admin.get(CONFIG, params={"limit": "1"})).status_code == 400


async def test_an_export_that_would_lack_something_is_refused(admin: httpx.AsyncClient, api: Api) -> None:
    await api.store.commit({}, [Put(key_of("route", "broken"), b"{}")])
    answer = await admin.get(CONFIG)
    assert answer.status_code == 500
    assert answer.json()["errors"] == [{"field": "route/broken", "detail": "cannot be read"}]


async def test_more_than_a_few(admin: httpx.AsyncClient) -> None:
    many = [{"name": f"s{number}"} for number in range(300)]
    (await admin.post(APPLY, json={"scopes": many})).raise_for_status()
    assert len((await admin.get(CONFIG)).json()["scopes"]) > 300
