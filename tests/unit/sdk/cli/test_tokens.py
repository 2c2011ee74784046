"""headgate token."""

from __future__ import annotations

import json

import httpx

from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run

LONG = "e30." + "x" * 400 + ".sig"


def test_the_token_is_all_that_is_printed(logged_in: Run, admin: FakeAdmin) -> None:
    asked: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[{"service_name": "orders"}])
        asked.append(json.loads(request.content))
        return httpx.Response(201, json={"token": LONG, "service_name": "orders", "expires_in": 604_800})

    admin.override = answer
    result = logged_in("token", "service", "orders", "--days", "7")
    assert (result.exit_code, result.stdout) == (0, LONG + "\n")
    assert asked == [{"service_name": "orders", "ttl": 604_800}]
    assert admin.requests == ["POST api/v1/auth/service-token", "GET api/v1/services"]
    assert result.stderr == ""
    assert json.loads(logged_in("token", "service", "orders", "--json").stdout)["expires_in"] == 604_800


def test_a_refusal_is_one_line(logged_in: Run, admin: FakeAdmin) -> None:
    admin.override = lambda _: httpx.Response(403, json={"detail": "Not enough permissions"})
    result = logged_in("token", "service", "ordres")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "headgate: Not enough permissions\n"


def test_days_are_bounded(logged_in: Run, admin: FakeAdmin) -> None:
    for days in ("0", "400", "soon"):
        assert logged_in("token", "service", "orders", "--days", days).exit_code == 2
    assert admin.requests == []


def test_a_service_that_is_not_there_is_told_beside_the_token(logged_in: Run, admin: FakeAdmin) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        known = [{"service_name": "orders"}]
        return httpx.Response(200, json=known if request.method == "GET" else {"token": LONG})

    admin.override = answer
    result = logged_in("token", "service", "odrers")
    assert (result.exit_code, result.stdout) == (0, LONG + "\n")
    assert result.stderr == "headgate: note: there is no service 'odrers' yet: did you mean orders?\n"
    assert "the first registration makes it" in logged_in("token", "service", "nosuch").stderr


def test_a_token_for_the_data_planes_of_a_pool(logged_in: Run, admin: FakeAdmin) -> None:
    asked: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[{"name": "edge"}])
        asked.append(json.loads(request.content))
        return httpx.Response(201, json={"token": LONG})

    admin.override = answer
    result = logged_in("token", "dataplane", "edge", "--node", "gw-1", "--days", "7")
    assert (result.exit_code, result.stdout, result.stderr) == (0, LONG + "\n", "")
    assert asked == [{"pool": "edge", "node": "gw-1", "ttl": 604_800}]
    told = logged_in("token", "dataplane", "egde").stderr
    assert told == "headgate: note: there is no pool 'egde' yet: did you mean edge?\n"
    assert "its data planes are refused" in logged_in("token", "dataplane", "nosuch").stderr
    assert logged_in("token", "dataplane", "default").stderr == ""
