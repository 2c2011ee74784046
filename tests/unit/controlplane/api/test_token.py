"""The token endpoint: three grants, and errors as OAuth clients know them."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.support.api import Api, running_api

TOKEN = "/api/v1/auth/token"
FORM = {"username": "reader", "password": "password"}
CLIENT = {"grant_type": "client_credentials"}


async def ask(api: Api, form: dict[str, str], **more: object) -> httpx.Response:
    return await api.client.post(TOKEN, data=form, **more)  # type: ignore[arg-type]


async def test_the_guides_curl(api: Api) -> None:
    answer = await ask(api, FORM)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "gateway:read")
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 200


async def test_password_grant_by_name_and_with_a_client_id(api: Api) -> None:
    form = {**FORM, "grant_type": "password", "client_id": "whoever", "scope": "gateway:read"}
    assert (await ask(api, form)).status_code == 200


async def test_refresh(api: Api) -> None:
    first = (await ask(api, FORM)).json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = await ask(api, form)
    assert second.status_code == 200
    assert second.json()["access_token"] != first["access_token"]
    wrong = await ask(api, {**form, "refresh_token": first["access_token"]})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")


async def test_client_credentials_in_the_form(api: Api) -> None:
    answer = await ask(api, {**CLIENT, "client_id": "reader", "client_secret": "password"})
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()


@pytest.mark.parametrize("credentials", ["reader:password", "reader:passw%6Frd"])
async def test_client_credentials_in_the_header(api: Api, credentials: str) -> None:
    header = "Basic " + base64.b64encode(credentials.encode()).decode()
    assert (await ask(api, CLIENT, headers={"Authorization": header})).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !",
        "Basic cmVhZGVy",
        "Basic /w==",
        "Bearer x",
        "Basic " + base64.b64encode(b"reader:wrong word").decode(),
    ],
)
async def test_a_client_that_is_not_known(api: Api, header: str) -> None:
    answer = await ask(api, CLIENT, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({**FORM, "password": "wrong word"}, "invalid_grant"),
        ({**FORM, "username": "unknown"}, "invalid_grant"),
        ({**FORM, "username": "../user/reader"}, "invalid_grant"),
        ({**FORM, "password": "x" * 1000}, "invalid_grant"),
        ({**FORM, "scope": "gateway:admin"}, "invalid_scope"),
        ({**FORM, "grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"username": "reader"}, "invalid_request"),
        ({**FORM, "password": ""}, "invalid_request"),
        ({}, "invalid_request"),
        (CLIENT, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
async def test_what_gets_no_token(api: Api, form: dict[str, str], error: str) -> None:
    content = {"content": b"", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    answer = await (ask(api, form) if form else api.client.post(TOKEN, **content))  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "wrong word" not in answer.text


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"username=a&username=b&password=c", "application/x-www-form-urlencoded", 400),
        (b"username=%ff&password=c", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(200)), "application/x-www-form-urlencoded", 400),
        (b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b'{"username": "reader"}', "application/json", 415),
    ],
)
async def test_bodies_that_are_no_form(api: Api, content: bytes, media_type: str, status: int) -> None:
    answer = await api.client.post(TOKEN, content=content, headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_secrets_given_twice(api: Api) -> None:
    answer = await ask(api, {**CLIENT, "client_secret": "password"}, auth=("reader", "password"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_whoever_guesses_is_slowed_down(api: Api) -> None:
    answers = [await ask(api, {**FORM, "password": "wrong word"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["error"] == "temporarily_unavailable"


async def test_without_the_store(api: Api) -> None:
    api.store.available = False
    answer = await ask(api, FORM)
    assert answer.status_code == 503
    assert answer.json() == {
        "error": "temporarily_unavailable",
        "error_description": "The store (etcd) does not answer",
    }
    assert answer.headers["Retry-After"]


async def test_before_the_keys_are_known() -> None:
    async with running_api(started=False) as api:
        answer = await ask(api, FORM)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert "is starting" in answer.json()["error_description"]
        assert (await api.client.get("/.well-known/jwks.json")).status_code == 503


async def test_public_keys(api: Api) -> None:
    answer = await api.client.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    assert {"kty", "kid", "n", "e", "alg", "use"} == key.keys()
    assert (await api.client.get("/api/v1/.well-known/jwks.json")).json() == answer.json()
