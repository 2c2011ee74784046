"""Getting in, staying in, and what is told when that fails."""

from __future__ import annotations

import base64
import getpass
import json
import stat
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from headgate.cli.api import AdminApi
from headgate.cli.credentials import Credentials, Login
from tests.support.fake_admin import FakeAdmin, problem

URL = "http://127.0.0.1:8080"


def stored(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "config/headgate/credentials.json").read_text())
    return content


def test_a_prompt_asks_for_both(run: Any, admin: FakeAdmin, home: Path) -> None:
    result = run("login", input="admin\ncorrect horse\n")
    assert result.exit_code == 0
    assert f"Logged in at {URL} as admin" in result.output
    assert "correct horse" not in result.output
    assert stored(home)["logins"][URL]["access_token"] == "access-1"


def test_only_the_owner_can_read_the_file(logged_in: Any, home: Path) -> None:
    assert stat.S_IMODE((home / "config/headgate/credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "config/headgate").stat().st_mode) == 0o700
    assert "correct horse" not in (home / "config/headgate/credentials.json").read_text()


def test_the_last_login_is_where_commands_go(run: Any, admin: FakeAdmin) -> None:
    run("login", "gateway.example:8000", "-u", "admin", "--password-stdin", input="correct horse")
    assert "http://gateway.example:8000" in run("status").output


def test_the_environment_names_another_one(
    logged_in: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_URL", "http://other:1/")
    result = logged_in("get", "routes")
    assert result.exit_code == 1
    assert result.stderr == "headgate: not logged in at http://other:1: type `headgate login`\n"


def test_a_wrong_password(run: Any, admin: FakeAdmin, home: Path) -> None:
    result = run("login", "-u", "admin", "--password-stdin", input="nope")
    assert (result.exit_code, result.stderr) == (1, "headgate: Wrong user or password\n")
    assert not (home / "config").exists()


def test_password_stdin_needs_a_username(run: Any, admin: FakeAdmin) -> None:
    result = run("login", "--password-stdin", input="x")
    assert (result.exit_code, admin.requests) == (2, [])


def test_no_terminal_to_ask_for_the_password(
    run: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prompt(*_: Any, **__: Any) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=1)
        return "correct horse"

    monkeypatch.setattr(typer, "prompt", prompt)
    result = run("login", "-u", "admin")
    told = "headgate: there is no terminal to ask for the password: give --password-stdin\n"
    assert (result.exit_code, result.stderr, admin.requests) == (2, told, [])


def test_a_login_asks_for_no_token(run: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", "a-shared-services-token")
    result = run("login", "-u", "admin", "--password-stdin", input="correct horse")
    assert (result.exit_code, result.stderr) == (0, "")


def test_too_many_attempts(run: Any, admin: FakeAdmin) -> None:
    admin.override = lambda _: problem(429, "Too many attempts")
    result = run("login", "-u", "admin", "--password-stdin", input="x")
    assert (result.exit_code, result.stderr) == (1, "headgate: Too many attempts\n")


def test_the_demo_is_found_from_a_folder_below(run: Any, admin: FakeAdmin, home: Path) -> None:
    facts = {
        "controlplane": "http://127.0.0.1:9999",
        "admin_username": "admin",
        "admin_password": "correct horse",
    }
    (home / ".headgate").mkdir()
    (home / ".headgate/demo.json").write_text(json.dumps(facts))
    assert run("login", "--demo").exit_code == 0
    assert stored(home)["current"] == "http://127.0.0.1:9999"


def test_a_demo_that_was_killed(run: Any, admin: FakeAdmin, home: Path) -> None:
    facts = {"controlplane": URL, "admin_username": "admin", "admin_password": "gone"}
    (home / ".headgate").mkdir()
    (home / ".headgate/demo.json").write_text(json.dumps(facts))

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    admin.override = refuse
    result = run("login", "--demo")
    told = f"headgate: the demo does not answer at {URL}: start it with `make demo`\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_no_demo(run: Any, admin: FakeAdmin) -> None:
    result = run("login", "--demo")
    assert result.exit_code == 1
    assert "make demo" in result.stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_a_broken_demo_file(run: Any, admin: FakeAdmin, home: Path, content: str) -> None:
    (home / ".headgate").mkdir()
    (home / ".headgate/demo.json").write_text(content)
    result = run("login", "--demo")
    assert result.exit_code == 1
    assert "demo.json" in result.stderr


def test_an_access_token_is_renewed_before_it_ends(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    login = stored(home)["logins"][URL]
    Credentials().save(URL, Login(**{**login, "expires": 0.0}))
    assert logged_in("get", "routes").exit_code == 0
    assert admin.requests == ["POST api/v1/auth/token", "GET api/v1/config/routes"]
    assert stored(home)["logins"][URL]["refresh_token"] == "refresh-2"


def test_a_refused_access_token_is_renewed_once(logged_in: Any, admin: FakeAdmin) -> None:
    admin.end_access()
    assert logged_in("get", "routes").exit_code == 0
    assert len(admin.requests) == 3


def test_a_login_that_has_ended(logged_in: Any, admin: FakeAdmin) -> None:
    admin.end_login()
    result = logged_in("get", "routes")
    assert (result.exit_code, result.stderr) == (
        1,
        f"headgate: the login at {URL} has ended: type `headgate login`\n",
    )


def test_a_renewal_that_is_not_answered_is_not_the_end_of_the_login(logged_in: Any, admin: FakeAdmin) -> None:
    admin.end_access()
    admin.override = lambda request: (
        problem(503, "the store does not answer")
        if "token" in request.url.path
        else problem(401, "Could not validate credentials")
    )
    assert logged_in("get", "routes").stderr == "headgate: the store does not answer\n"


def test_a_login_without_refresh_token(logged_in: Any, admin: FakeAdmin) -> None:
    Credentials().save(URL, Login("admin", "old", 0.0))
    assert "has ended" in logged_in("get", "routes").stderr


def test_without_a_login_reading_works_where_it_is_allowed(run: Any, admin: FakeAdmin) -> None:
    admin.anonymous_read = True
    assert run("get", "routes").exit_code == 0
    result = run("delete", "route", "x")
    assert "not logged in" in result.stderr


def test_a_permission_that_is_missing(logged_in: Any, admin: FakeAdmin) -> None:
    admin.override = lambda _: problem(403, "Not enough permissions")
    result = logged_in("get", "users")
    assert (result.exit_code, result.stderr) == (1, "headgate: Not enough permissions\n")


def test_a_broken_credentials_file(run: Any, admin: FakeAdmin, home: Path) -> None:
    (home / "config/headgate").mkdir(parents=True)
    (home / "config/headgate/credentials.json").write_text("{")
    result = run("status")
    assert result.exit_code == 1
    assert "remove it and log in again" in result.stderr


def test_credentials_of_another_version_mean_no_login(run: Any, admin: FakeAdmin, home: Path) -> None:
    (home / "config/headgate").mkdir(parents=True)
    content = {"current": URL, "logins": {URL: {"token": "old"}}}
    (home / "config/headgate/credentials.json").write_text(json.dumps(content))
    assert "not logged in" in run("status").stderr


def test_a_folder_that_is_a_file(run: Any, admin: FakeAdmin, home: Path) -> None:
    (home / "config").write_text("not a folder")
    result = run("login", "-u", "admin", "--password-stdin", input="correct horse")
    assert (result.exit_code, result.stderr.count("\n"), "credentials.json" in result.stderr) == (1, 1, True)


def test_a_refusal_cannot_speak_to_the_terminal(run: Any, admin: FakeAdmin) -> None:
    admin.override = lambda _: problem(400, "a\x1b[2Jb", errors=[{"field": "x\n", "detail": "y"}])
    assert run("status").stderr == "headgate: a\\x1b[2Jb\n  x\\n: y\n"


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "http://h?x=1"])
def test_not_a_url(run: Any, admin: FakeAdmin, url: str) -> None:
    result = run("--url", url, "status")
    assert (result.exit_code, "is not a URL" in result.stderr) == (1, True)


def test_another_server_answers(run: Any, admin: FakeAdmin) -> None:
    admin.override = lambda _: httpx.Response(200, html="<h1>It works!</h1>")
    result = run("status")
    assert (result.exit_code, result.stderr) == (
        1,
        f"headgate: {URL} is not a Headgate admin API (it answered 200, text/html; charset=utf-8)\n",
    )


def test_nobody_listens(run: Any) -> None:
    result = run("--url", "http://127.0.0.1:1", "status")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "headgate: cannot reach the control plane at http://127.0.0.1:1: connection refused"
    )
    assert result.stderr.count("\n") == 1


def test_nobody_answers(run: Any, admin: FakeAdmin) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    admin.override = slow
    assert "did not answer within 30 s" in run("status").stderr


def test_a_missing_ca_is_named(run: Any, home: Path) -> None:
    result = run("--url", "https://127.0.0.1:1", "--ca", str(home / "ca.pem"), "status")
    assert (result.exit_code, "cannot read the CA's certificate" in result.stderr) == (1, True)


def test_tokens_are_never_shown() -> None:
    assert "secret" not in repr(Login("admin", "secret", 0.0, "secret"))


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
        ("https://gateway.example.org", False),
        ("http://gateway.example.org:8080", True),
    ],
)
def test_a_password_in_plain_text_is_warned_of(run: Any, admin: FakeAdmin, url: str, warned: bool) -> None:
    result = run("login", url, "-u", "admin", "--password-stdin", input="correct horse\n")
    assert result.exit_code == 0
    assert ("the password goes to gateway.example.org in plain text" in result.stderr) is warned


def access(kind: str) -> str:
    """What looks like a JWT of this kind."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": kind}).encode()).decode()
    return f"{header.rstrip('=')}.e30.c2ln"


def of_a_pod() -> str:
    """What looks like the token of a service account."""
    claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:shop:stock"}').decode()
    return f"{access('JWT').partition('.')[0]}.{claims.rstrip('=')}.c2ln"


def test_an_access_token_in_the_environment_takes_the_place_of_the_login(
    run: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", access("at+jwt"))
    admin.accept(access("at+jwt"))
    assert run("get", "routes").exit_code == 0
    assert run("apply", "-f", "-", input="scopes: [{name: 'a:b'}]").exit_code == 0
    admin.end_access()
    result = run("get", "routes")
    assert (result.exit_code, "HEADGATE_TOKEN" in result.stderr) == (1, True)
    assert "auth/token" not in str(admin.requests)


@pytest.mark.parametrize("token", ["a-shared-services-token", access("st+jwt"), "no.jwt.either", of_a_pod()])
def test_a_services_token_in_the_environment_leaves_the_login_in_its_place(
    logged_in: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", token)
    result = logged_in("get", "routes")
    assert result.exit_code == 0
    assert (
        "HEADGATE_TOKEN is a token for services, not for people: this command uses the login" in result.stderr
    )


def test_a_token_with_its_scheme_is_no_token(
    logged_in: Any, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have been passed over, and the command would have been somebody else's."""
    monkeypatch.setenv("HEADGATE_TOKEN", f"Bearer {access('at+jwt')}")
    result = logged_in("get", "routes")
    assert (result.exit_code, "no 'Bearer' before it" in result.stderr) == (1, True)


def test_commands_side_by_side_renew_once(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    """A refresh token is good for one use: whoever comes second takes what the first one got."""
    credentials = Credentials()
    stale = credentials.find(URL)
    assert stale is not None
    apis = [AdminApi(URL, credentials) for _ in range(2)]
    renewed = [api._renew(stale) for api in apis]
    assert renewed[0] == renewed[1] != stale
    assert str(admin.requests).count("auth/token") == 1


def test_logging_out_ends_the_login(logged_in: Any, admin: FakeAdmin, home: Path) -> None:
    result = logged_in("logout")
    assert (result.exit_code, result.output) == (0, f"Logged out at {URL}\n")
    assert "auth/revoke" in str(admin.requests)
    assert stored(home)["logins"] == {}
    assert logged_in("logout").output == f"Not logged in at {URL}\n"
    assert logged_in("get", "routes").exit_code == 1
