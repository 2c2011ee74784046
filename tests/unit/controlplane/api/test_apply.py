"""Whole documents: all of it, or one answer that lists everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from controlplane.model.stored import COMMITS
from controlplane.store import Write
from tests.support.api import Api

APPLY = "/api/v1/apply"
DEMO = Path(__file__).parents[4] / "examples" / "demo.yaml"
YAML = {"Content-Type": "application/yaml"}


async def test_the_demos_configuration(admin: httpx.AsyncClient, api: Api) -> None:
    answer = await admin.post(APPLY, content=DEMO.read_bytes(), headers=YAML)
    assert answer.status_code == 200
    receipt = answer.json()
    assert receipt["revision"] == api.store.revision
    assert {"action": "create", "kind": "route", "name": "orders"} in receipt["changes"]
    again = (await admin.post(APPLY, content=DEMO.read_bytes(), headers=YAML)).json()
    assert again["revision"] == receipt["revision"]
    assert {change["action"] for change in again["changes"]} == {"unchanged"}


async def test_a_dry_run_writes_nothing(admin: httpx.AsyncClient, api: Api) -> None:
    before = api.store.revision
    for flag in ("true", "1", ""):
        answer = await admin.post(f"{APPLY}?dry_run={flag}", content=DEMO.read_bytes(), headers=YAML)
        assert answer.json()["changes"][0] == {"action": "create", "kind": "service", "name": "orders"}
    assert api.store.revision == before
    wrong = await admin.post(f"{APPLY}?dry_run=true", json={"routes": [{"name": "a"}]})
    assert wrong.status_code == 400


async def test_a_change_that_is_decided_when_the_store_fails(
    admin: httpx.AsyncClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"scopes": [{"name": f"s{number}"} for number in range(200)]}
    builtin = len(await api.parts.commands.list("scope"))
    commit = api.store.commit

    async def until_decided(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        revision = await commit(expected, writes)
        if any(write.key.startswith(COMMITS) for write in writes):
            api.store.available = False
        return revision

    monkeypatch.setattr(api.store, "commit", until_decided)
    answer = await admin.post(APPLY, json=document)
    assert answer.status_code == 202
    receipt = answer.json()
    assert "completes it as soon as the store answers" in receipt["unfinished"]
    assert len(receipt["changes"]) == 200

    monkeypatch.setattr(api.store, "commit", commit)
    api.store.available = True
    decided = receipt["revision"]
    (record,) = [one for one in await api.parts.commands.changes(list) if one.revision == decided]
    assert len(record.actions) == 200
    # The next change completes it, as the sweeper would.
    await admin.post(APPLY, json={"scopes": [{"name": "another"}]})
    assert len(await api.parts.commands.list("scope")) == builtin + 200 + 1


async def test_a_change_that_is_made_when_the_store_fails_is_not_denied(
    admin: httpx.AsyncClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.parts.store = api.store
    await api.parts.commands.ensure_lineage("test")
    await api.seen()
    commit = api.store.commit

    async def the_last(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        revision = await commit(expected, writes)
        api.store.available = False
        return revision

    monkeypatch.setattr(api.store, "commit", the_last)
    answer = await admin.post(APPLY, json={"scopes": [{"name": "new"}]})
    assert (answer.status_code, answer.json()["revision"]) == (200, api.store.revision)


@pytest.mark.parametrize("query", ["dry_run=perhaps", "dryrun=true"])
async def test_parameters_that_are_not_taken(admin: httpx.AsyncClient, api: Api, query: str) -> None:
    before = api.store.revision
    answer = await admin.post(f"{APPLY}?{query}", json={"scopes": [{"name": "new"}]})
    assert answer.status_code == 400
    assert api.store.revision == before


async def test_what_is_probably_not_meant_is_said_and_done(admin: httpx.AsyncClient) -> None:
    limits = [
        {"name": "fine", "per_second": 1, "burst": 10, "cost": 2},
        {"name": "tight", "per_second": 1, "burst": 3, "cost": 2},
        {"name": "open", "per_second": 1, "burst": 3, "cost_header": "x-cost"},
        {"name": "closed", "per_second": 1, "burst": 3, "cost_header": "x-cost", "max_concurrent": 4},
        {
            "name": "many",
            "per_second": 1,
            "burst": 3,
            "address_prefix": 128,
            "enforce": "shadow",
            "advertise": True,
        },
        {"name": "none", "per_second": 1, "burst": 3, "key": "route", "address_prefix": 48},
    ]
    answer = await admin.post(APPLY, json={"rate_limits": limits})
    assert answer.status_code == 200
    assert [warning["field"] for warning in answer.json()["warnings"]] == [
        "rate_limits[1].cost",
        "rate_limits[2].cost_header",
        "rate_limits[4].address_prefix",
        "rate_limits[4].advertise",
        "rate_limits[5].address_prefix",
    ]
    assert "warnings" not in (await admin.post(APPLY, json={"rate_limits": limits[:1]})).json()


async def test_all_problems_with_their_paths(admin: httpx.AsyncClient, api: Api) -> None:
    before = api.store.revision
    document = {
        "services": [{"service_name": "fine"}, {"service_name": "odd", "check_interval": -1}],
        "routes": [{"name": "a", "prefix": "/a", "service_name": "nowhere", "scopes": ["no:scope"]}],
        "rate_limits": [{"name": "l", "per_second": 1, "burst": 1, "mode": "nowhere"}],
        "colours": [],
    }
    answer = await admin.post(APPLY, json=document)
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {
        "services[1].check_interval",
        "routes[0].service_name",
        "routes[0].scopes[0]",
        "rate_limits[0].mode",
        "colours",
    }
    assert api.store.revision == before


@pytest.mark.parametrize(
    ("content", "media_type", "detail"),
    [
        (b'{"routes": [', "application/json", "not JSON: Expecting value at line 1, column 13"),
        (b'{"a": 1, "a": 2}', "application/json", "not JSON: key 'a' is given twice"),
        (b"[]", "application/json", "must be one JSON object"),
        (b"", "application/json", "not JSON"),
        (b"\xff", "application/json", "not UTF-8: byte 0"),
        (b"routes:\n - name: [", "application/yaml", "not YAML: did not find expected node content at line"),
        (b"- a", "application/yaml", "must be one YAML object"),
        (b"", "application/yaml", "must be one YAML object"),
        (b"[" * 100_000, "application/yaml", "nested deeper than 64"),
        (b"[" * 100_000, "application/json", "nested too deeply"),
    ],
)
async def test_bodies_that_are_no_document(
    admin: httpx.AsyncClient, content: bytes, media_type: str, detail: str
) -> None:
    answer = await admin.post(APPLY, content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_media_types_that_are_not_taken(admin: httpx.AsyncClient, media_type: str) -> None:
    answer = await admin.post(APPLY, content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert answer.headers["Accept"] == "application/json, application/yaml"


async def test_a_body_above_the_limit(admin: httpx.AsyncClient) -> None:
    announced = await admin.post(APPLY, content=b" " * (10 * 1024 * 1024 + 1), headers=YAML)
    assert announced.status_code == 413

    async def endless() -> object:
        while True:
            yield b" " * 1_000_000

    streamed = await admin.post(APPLY, content=endless(), headers=YAML)  # type: ignore[arg-type]
    assert streamed.status_code == 413


async def test_a_body_just_within_the_limit(admin: httpx.AsyncClient) -> None:
    document = json.dumps({"scopes": [{"name": "new"}]}).encode()
    answer = await admin.post(
        APPLY,
        content=document.ljust(10 * 1024 * 1024),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert answer.status_code == 200


async def test_more_than_one_change_carries(admin: httpx.AsyncClient) -> None:
    document = {"scopes": [{"name": f"s{number}"} for number in range(20_001)]}
    answer = await admin.post(APPLY, json=document)
    assert answer.status_code == 400
    assert "apply it in parts" in answer.text


async def test_a_limit_in_redis_is_warned_of_while_data_planes_have_none(
    admin: httpx.AsyncClient, api: Api
) -> None:
    document = {"rate_limits": [{"name": "a", "per_second": 1, "burst": 3, "mode": "redis"}]}
    assert "warnings" not in (await admin.post(APPLY, json=document)).json()
    api.parts.fleet.hello("gw-1", "1.0.0", without_redis=True)
    for query in ("?dry_run=true", ""):
        (warning,) = (await admin.post(APPLY + query, json=document)).json()["warnings"]
        assert warning["field"] == "rate_limits[0].mode"
        assert warning["detail"].startswith("no connected data plane has a Redis")
    api.parts.fleet.hello("gw-1", "1.0.0")
    assert "warnings" not in (await admin.post(APPLY, json=document)).json()


async def test_a_dry_run_shows_the_fields_that_would_change(admin: httpx.AsyncClient) -> None:
    document = {"services": [{"service_name": "orders", "check_interval": 30}]}
    (await admin.post("/api/v1/apply", json=document)).raise_for_status()
    changed = {"services": [{"service_name": "orders", "check_interval": 10}, {"service_name": "new"}]}
    dry = (await admin.post("/api/v1/apply?dry_run=true", json=changed)).json()
    assert [(one["action"], one["name"]) for one in dry["edits"]] == [("update", "orders"), ("create", "new")]
    assert dry["edits"][0]["fields"] == [{"field": "check_interval", "before": 30, "after": 10}]
    assert "edits" not in (await admin.post("/api/v1/apply", json=changed)).json()
