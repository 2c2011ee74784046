"""An id for every request, one log line for each, no secrets in it."""

from __future__ import annotations

import logging

import httpx
import pytest

from controlplane.api import docs
from tests.support.api import Api


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record) for record in caplog.records if record.message == "admin request"]


@pytest.fixture(autouse=True)
def _every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


async def test_an_id_is_taken_over(api: Api) -> None:
    answer = await api.client.get("/health", headers={"X-Request-Id": "abc-1"})
    assert answer.headers.get_list("X-Request-Id") == ["abc-1"]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b'])
async def test_an_id_is_made(api: Api, given: str) -> None:
    answer = await api.client.get("/nothing", headers={"X-Request-Id": given} if given else {})
    assert answer.status_code == 404
    assert len(answer.headers["X-Request-Id"]) == 32


async def test_every_answer_tells_its_revision(admin: httpx.AsyncClient, api: Api) -> None:
    changed = await admin.post("/api/v1/apply", json={"scopes": [{"name": "new"}]})
    assert changed.headers["X-Headgate-Revision"] == str(changed.json()["revision"])
    await api.seen()
    for path in ("/api/v1/services", "/api/v1/circuits", "/nothing", "/health"):
        answer = await admin.get(path)
        assert answer.headers["X-Headgate-Revision"] == str(api.store.revision)


async def test_a_change_is_logged_with_author_and_revision(
    admin: httpx.AsyncClient, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"X-Request-Id": "change-1"}
    await admin.post("/api/v1/apply", json={"scopes": [{"name": "new"}]}, headers=headers)
    (line,) = lines(caplog)
    assert line["levelname"] == "INFO"
    fields = ("request_id", "method", "path", "status", "author", "revision")
    assert [line[name] for name in fields] == [
        "change-1",
        "POST",
        "/api/v1/apply",
        200,
        "admin",
        api.store.revision,
    ]


async def test_a_refusal_is_logged_without_author(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await api.client.delete("/api/v1/config/scopes/orders:read")
    (line,) = lines(caplog)
    assert line["status"] == 401
    assert "author" not in line
    assert "revision" not in line


async def test_no_secret_is_logged(
    admin: httpx.AsyncClient, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    form = {"username": "reader", "password": "password"}
    tokens = (await api.client.post("/api/v1/auth/token", data=form)).json()
    wrong = {"username": "mistyped secret", "password": "wrong secret"}
    await api.client.post("/api/v1/auth/token", data=wrong)
    await admin.put("/api/v1/config/users/jo", json={"password": "third secret"})
    told = repr([vars(record) for record in caplog.records])
    for secret in ("mistyped secret", "wrong secret", "third secret", tokens["access_token"], "argon2"):
        assert secret not in told
    assert [line.get("author") for line in lines(caplog)] == ["reader", None, "admin"]


async def test_probes_are_quiet_unless_they_fail(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await api.client.get("/ready")
    api.parts.starting = "waiting"
    await api.client.get("/ready")
    assert [line["levelname"] for line in lines(caplog)] == ["DEBUG", "INFO"]


async def test_a_fault_of_ours_is_a_500_and_tells_nothing(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(docs, "describe", fail)
    headers = {**await api.token(), "X-Request-Id": "fault-1"}
    answer = await api.client.get("/api/v1/openapi.json", headers=headers)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == "fault-1"
    assert "inner secret" not in answer.text
    fault = next(record for record in caplog.records if record.message == "admin request failed")
    assert fault.exc_info is not None
    assert vars(fault)["request_id"] == "fault-1"


async def test_requests_are_counted_by_known_methods(api: Api) -> None:
    await api.client.get("/nothing")
    await api.client.request("BREW", "/nothing")
    assert api.parts.answered == {("GET", 404): 1, ("other", 404): 1}


@pytest.mark.parametrize("path", ["/health", "/api/v1/services", "/nothing", "/api/v1/.well-known/jwks.json"])
async def test_browsers_are_told_what_an_answer_is_not(api: Api, path: str) -> None:
    answer = await api.client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
