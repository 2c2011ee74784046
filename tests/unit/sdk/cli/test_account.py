"""whoami, logout, contexts, and what is told when a scope is missing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run

URL = "http://127.0.0.1:8080"
PROD = "https://prod.example"


def token(**said: object) -> str:
    """An access token that says so."""
    parts = ({"typ": "at+jwt"}, {"sub": "anna", "exp": 4_000_000_000, **said})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts) + ".x"


def test_whoami(logged_in: Run, admin: FakeAdmin) -> None:
    admin.sections["users"]["admin"] = {"username": "admin", "scopes": ["gateway:read"], "disabled": False}
    lines = logged_in("whoami").stdout.splitlines()
    assert lines[:2] == [f"admin at {URL} (context 127.0.0.1:8080)", "Scopes: gateway:read"]
    seen = json.loads(logged_in("whoami", "-o", "json").stdout)
    assert (seen["username"], seen["url"], seen["login"]) == ("admin", URL, "stored")
    assert 800 < seen["access_token_seconds"] <= 900


def test_whoami_with_a_token(run: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    given = token(scopes=["orders:read", "gateway:read"])
    monkeypatch.setenv("HEADGATE_TOKEN", given)
    admin.accept(given)
    admin.sections["users"]["anna"] = {"username": "anna", "scopes": ["gateway:read", "gateway:admin"]}
    seen = json.loads(run("whoami", "-o", "json").stdout)
    # What the token was made for, of what the user holds now.
    assert (seen["username"], seen["scopes"], seen["login"]) == ("anna", ["gateway:read"], "HEADGATE_TOKEN")


def test_whoami_without_a_login(run: Run, admin: FakeAdmin) -> None:
    result = run("whoami")
    assert (result.exit_code, result.stderr) == (
        1,
        f"headgate: not logged in at {URL}: type `headgate login`\n",
    )


def test_without_a_login_at_the_demo(run: Run, admin: FakeAdmin, home: Path) -> None:
    (home / ".headgate").mkdir()
    facts = {"controlplane": URL, "admin_username": "admin", "admin_password": "secret"}
    (home / ".headgate/demo.json").write_text(json.dumps(facts))
    assert run("whoami").stderr == f"headgate: not logged in at {URL}: type `headgate login --demo`\n"


def test_a_scope_that_is_missing_is_named_with_the_user(logged_in: Run, admin: FakeAdmin) -> None:
    admin.lacks = "gateway:admin"
    result = logged_in("delete", "route", "orders")
    assert (result.exit_code, result.stderr) == (
        1,
        "headgate: Not enough permissions: user admin lacks the scope gateway:admin\n",
    )


def test_a_scope_that_a_given_token_lacks(
    run: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", token())
    admin.accept(token())
    admin.lacks = "gateway:admin"
    assert "user anna lacks the scope gateway:admin" in run("delete", "route", "orders").stderr


def log_in(run: Run, *arguments: str) -> None:
    result = run("login", *arguments, "-u", "admin", "--password-stdin", input="correct horse\n")
    assert result.exit_code == 0, result.output


def test_contexts(run: Run, admin: FakeAdmin, home: Path) -> None:
    assert run("context").stdout.startswith("no contexts")
    log_in(run, URL)
    log_in(run, PROD, "--context", "prod")
    known = json.loads(run("context", "-o", "json").stdout)
    assert [(one["name"], one["url"], one["username"], one["current"]) for one in known] == [
        ("127.0.0.1:8080", URL, "admin", False),
        ("prod", PROD, "admin", True),
    ]
    assert run("context", "use", "127.0.0.1:8080").stdout == f"Commands go to 127.0.0.1:8080, {URL}\n"
    assert f"Control plane {URL}" in run("status").stdout
    assert f"Control plane {PROD}" in run("status", "--context", "prod").stdout
    assert f"Control plane {PROD}" in run("--context", "prod", "status").stdout
    row = run("context").stdout.splitlines()[1]
    assert row.split() == ["*", "127.0.0.1:8080", URL, "admin"]


def test_a_context_keeps_the_authority(run: Run, admin: FakeAdmin, home: Path) -> None:
    (home / "work/ca.pem").write_text("")
    assert run("context", "set", "prod", PROD, "--ca", "ca.pem").exit_code == 0
    [known] = json.loads(run("context", "-o", "json").stdout)
    assert (known["ca"], known["username"], known["current"]) == (str(home / "work/ca.pem"), None, True)
    run("status")
    run("status", "--ca", "other.pem")
    assert admin.authorities == [home / "work/ca.pem", Path("other.pem")]


def test_a_context_is_made_before_its_login(run: Run, admin: FakeAdmin) -> None:
    run("context", "set", "prod", PROD)
    log_in(run, "--context", "prod")
    assert "admin at https://prod.example (context prod)" in run("whoami").stdout


def test_a_context_that_does_not_exist(run: Run, admin: FakeAdmin) -> None:
    told = "headgate: there is no context 'prod'; `headgate context` lists them, and `headgate context set NAME URL` "
    told += "makes one\n"
    for command in (("context", "use", "prod"), ("get", "routes", "--context", "prod")):
        result = run(*command)
        assert (result.exit_code, result.stderr, admin.requests) == (2, told, [])


def test_a_context_is_forgotten_with_its_login(run: Run, admin: FakeAdmin, home: Path) -> None:
    log_in(run, PROD, "--context", "prod")
    assert run("context", "delete", "prod").exit_code == 0
    stored = json.loads((home / "config/headgate/credentials.json").read_text())
    assert (stored["contexts"], stored["logins"], "current" in stored) == ({}, {}, False)


def test_logins_of_an_earlier_version_are_contexts(logged_in: Run, home: Path) -> None:
    file = home / "config/headgate/credentials.json"
    stored = json.loads(file.read_text())
    del stored["contexts"]
    file.write_text(json.dumps(stored))
    assert [one["name"] for one in json.loads(logged_in("context", "-o", "json").stdout)] == [
        "127.0.0.1:8080"
    ]
    assert logged_in("context", "use", "127.0.0.1:8080").exit_code == 0


def test_the_nearest_name_of_a_control_plane_counts(
    logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_in("context", "set", "prod", PROD)
    logged_in("context", "set", "test", "http://test.example")
    monkeypatch.setenv("HEADGATE_CONTEXT", "test")
    assert "not logged in at http://test.example" in logged_in("get", "routes").stderr
    monkeypatch.setenv("HEADGATE_URL", "http://env.example")
    assert "not logged in at http://env.example" in logged_in("get", "routes").stderr
    assert f"not logged in at {PROD}" in logged_in("get", "routes", "--context", "prod").stderr
    assert "http://x.example" in logged_in("--context", "prod", "get", "routes", "--url", "x.example").stderr
    result = logged_in("get", "routes", "--context", "prod", "--url", "x.example")
    assert (result.exit_code, "only one of them" in result.stderr) == (2, True)


def test_the_demo_is_a_context(run: Run, admin: FakeAdmin, home: Path) -> None:
    facts: dict[str, Any] = {
        "controlplane": URL,
        "admin_username": "admin",
        "admin_password": "correct horse",
    }
    (home / ".headgate").mkdir()
    (home / ".headgate/demo.json").write_text(json.dumps(facts))
    run("login", "--demo")
    assert json.loads(run("context", "-o", "json").stdout)[0]["name"] == "demo"


def test_a_context_that_is_mistyped(run: Run, admin: FakeAdmin) -> None:
    run("context", "set", "prod", "https://prod.example")
    told = "headgate: there is no context 'prdo': did you mean prod?\n"
    assert run("get", "routes", "--context", "prdo").stderr == told
