"""`POST /apply?prune=true`: what has to be said, and what the answer says."""

from __future__ import annotations

import httpx
import pytest

from tests.support.api import Api

APPLY = "/api/v1/apply"
A = {"team": "a"}
BEFORE = {"scopes": [{"name": "old", "labels": A}, {"name": "kept", "labels": A}, {"name": "theirs"}]}
AFTER = {"scopes": [{"name": "kept", "labels": A}]}


async def names(admin: httpx.AsyncClient) -> set[str]:
    return {one["name"] for one in (await admin.get("/api/v1/config/scopes")).json()}


async def test_dry_run_and_change(admin: httpx.AsyncClient) -> None:
    (await admin.post(APPLY, json=BEFORE)).raise_for_status()
    query = f"{APPLY}?prune=true&label=team=a"
    dry = (await admin.post(f"{query}&dry_run=true", json=AFTER)).json()
    assert dry["changes"][-1] == {"action": "delete", "kind": "scope", "name": "old"}
    assert [one["action"] for one in dry["edits"]] == ["delete"]
    assert "old" in await names(admin)
    done = await admin.post(f"{query}&plan={dry['plan']}", json=AFTER)
    assert done.status_code == 200
    assert "plan" not in done.json()
    assert {"kept", "theirs"} <= await names(admin)
    assert "old" not in await names(admin)
    # Done already: the same plan is another one now.
    again = await admin.post(f"{query}&plan={dry['plan']}", json=AFTER)
    assert again.status_code == 412
    assert "another change" in again.json()["detail"]


async def test_everything_without_what_others_own(admin: httpx.AsyncClient) -> None:
    (await admin.post(APPLY, json=BEFORE)).raise_for_status()
    # A user has the scope orders:read.
    document = {"scopes": [*AFTER["scopes"], {"name": "orders:read"}]}
    receipt = (await admin.post(f"{APPLY}?prune=true&all=true", json=document)).json()
    assert {one["kind"] for one in receipt["kept"]} == {"user"}
    assert {"gateway:read", "gateway:admin"} <= await names(admin)
    assert "theirs" not in await names(admin)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("prune=true", "prune needs either label=NAME=VALUE, or all=true for every resource"),
        ("prune=true&all=true&label=a", "prune needs either label=NAME=VALUE, or all=true"),
        ("label=team=a", "label has no meaning without prune"),
        ("users=true", "users has no meaning without prune"),
        ("prune=true&label=", "the name is 1 to 63 letters"),
        ("prune=perhaps&label=a", "prune must be true or false"),
        ("plan=latest", "plan is the `plan` of a dry run"),
        ("prune=true&label=team=a", "The configuration has 1 problem"),
    ],
)
async def test_refusals(admin: httpx.AsyncClient, api: Api, query: str, told: str) -> None:
    revision = api.store.revision
    answer = await admin.post(f"{APPLY}?{query}", json={})
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert api.store.revision == revision


async def test_a_reader_may_not(reader: httpx.AsyncClient) -> None:
    assert (await reader.post(f"{APPLY}?prune=true&label=a", json=AFTER)).status_code == 403
