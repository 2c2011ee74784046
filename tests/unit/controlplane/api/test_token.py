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


async def test_guessing_is_slowed_down(api: Api) -> None:
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


async def test_parameters_without_a_value_count_as_left_out(api: Api) -> None:
    """RFC 6749, section 3.2."""
    form = {**FORM, "grant_type": "", "scope": "", "client_id": "", "client_secret": ""}
    assert (await ask(api, form)).status_code == 200
    answer = await ask(api, {**FORM, "password": ""})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_secret_in_the_header_is_form_encoded(api: Api) -> None:
    """RFC 6749, section 2.3.1: a plus sign is a space."""
    user = {"username": "program", "password": "pass word+1", "scopes": ["gateway:read"]}
    made = await api.client.post("/api/v1/config/users", json=user, headers=await api.token())
    assert made.status_code == 201
    for secret, status in (("pass+word%2B1", 200), ("pass%20word%2b1", 200), ("pass word+1", 401)):
        header = "Basic " + base64.b64encode(f"program:{secret}".encode()).decode()
        assert (await ask(api, CLIENT, headers={"Authorization": header})).status_code == status


async def test_a_client_that_authenticates_must_be_right_whatever_the_grant(api: Api) -> None:
    """RFC 6749, sections 3.2.1, 4.3.2 and 6."""
    right = {"client_id": "nobody", "client_secret": "password"}
    first = await ask(api, {**FORM, **right})
    assert first.status_code == 200
    refresh = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
    for form in (FORM, refresh):
        answer = await ask(api, {**form, **right, "client_secret": "wrong"})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await ask(api, {**refresh, **right})).status_code == 200, "the token was not used up"


async def test_one_client_not_two(api: Api) -> None:
    header = "Basic " + base64.b64encode(b"reader:password").decode()
    answer = await ask(api, {**CLIENT, "client_id": "nobody"}, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_refresh_token_is_good_for_one_use(api: Api) -> None:
    token = (await ask(api, FORM)).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    following = (await ask(api, form)).json()["refresh_token"]
    again = await ask(api, form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    told = again.json()["error_description"]
    assert told == "the refresh token is no longer valid: log in again"
    ended = await ask(api, {**form, "refresh_token": following})
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


async def test_a_new_password_ends_every_token(api: Api) -> None:
    tokens = (await ask(api, FORM)).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 200
    change = {"username": "reader", "password": "another password", "scopes": ["gateway:read"]}
    put = await api.client.put("/api/v1/config/users/reader", json=change, headers=await api.token())
    assert put.status_code == 200
    await api.seen()
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await ask(api, form)).json()["error"] == "invalid_grant"


async def test_disabling_ends_every_token_for_good(api: Api) -> None:
    tokens = (await ask(api, FORM)).json()
    admin = await api.token()
    for disabled in (True, False):
        change = {"username": "reader", "scopes": ["gateway:read"], "disabled": disabled}
        assert (
            await api.client.put("/api/v1/config/users/reader", json=change, headers=admin)
        ).status_code == 200
    await api.seen()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await ask(api, form)).json()["error"] == "invalid_grant"
    assert (await ask(api, FORM)).status_code == 200, "a new login is"


async def test_other_changes_of_a_user_end_nothing(api: Api) -> None:
    tokens = (await ask(api, FORM)).json()
    change = {"username": "reader", "scopes": ["gateway:read", "orders:read"], "password": "password"}
    await api.client.put("/api/v1/config/users/reader", json=change, headers=await api.token())
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 200


async def test_what_the_control_plane_keeps_of_a_user_is_not_shown(api: Api) -> None:
    shown = (await api.client.get("/api/v1/config/users/reader", headers=await api.token())).json()
    assert not {"password", "password_hash", "generation", "credentials_id"} & set(shown)


async def test_a_guesser_elsewhere_keeps_nobody_out(api: Api) -> None:
    """Behind the gateway, too, whose address all of them share."""
    guesser, owner = {"X-Forwarded-For": "192.0.2.66"}, {"X-Forwarded-For": "198.51.100.1"}
    for grant, secret in (("password", "password"), ("client_credentials", "client_secret")):
        who = "username" if grant == "password" else "client_id"
        for _ in range(20):
            await ask(api, {"grant_type": grant, who: "reader", secret: "guess"}, headers=guesser)
        good = {"grant_type": grant, who: "reader", secret: "password"}
        assert (await ask(api, good, headers=guesser)).status_code == 429
        assert (await ask(api, good, headers=owner)).status_code == 200


async def test_revocation(api: Api) -> None:
    """RFC 7009: success whatever the token, and nothing of the login is left."""
    tokens = (await ask(api, FORM)).json()
    for token in (tokens["refresh_token"], tokens["refresh_token"], "nonsense"):
        answer = await api.client.post("/api/v1/auth/revoke", data={"token": token})
        assert answer.status_code == 200
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await ask(api, form)).json()["error"] == "invalid_grant"
    another = (await ask(api, FORM)).json()["access_token"]
    access = await api.client.post("/api/v1/auth/revoke", data={"token": another})
    assert (access.status_code, access.json()["error"]) == (400, "unsupported_token_type")
    nothing = await api.client.post("/api/v1/auth/revoke", data={"token_type_hint": "refresh_token"})
    assert (nothing.status_code, nothing.json()["error"]) == (400, "invalid_request")


async def test_the_end_of_a_login_ends_its_access_tokens_at_the_control_plane(api: Api) -> None:
    """RFC 7009, section 2.1; and RFC 9700, 4.14.2, for a token that was copied."""
    for ending in ("revoked", "copied"):
        tokens = (await ask(api, FORM)).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 200
        if ending == "revoked":
            await api.client.post("/api/v1/auth/revoke", data={"token": tokens["refresh_token"]})
        else:
            assert (await ask(api, form)).status_code == 200
            assert (await ask(api, form)).status_code == 400
        assert (await api.client.get("/api/v1/services", headers=headers)).status_code == 401
        again = await api.client.post("/api/v1/auth/revoke", data={"token": tokens["access_token"]})
        assert again.status_code == 200, "it has ended already"


async def test_a_user_without_scopes_gets_an_answer_without_scope(api: Api) -> None:
    """RFC 6749, section 3.3: a scope has at least one word."""
    user = {"username": "nothing", "password": "password"}
    await api.client.post("/api/v1/config/users", json=user, headers=await api.token())
    assert "scope" not in (await ask(api, {"username": "nothing", "password": "password"})).json()


async def test_only_post(api: Api) -> None:
    assert (await api.client.get(TOKEN, params=FORM)).status_code == 405


async def test_descriptions_are_plain(api: Api) -> None:
    """RFC 6749, section 5.2: no quotation marks, no backslashes, ASCII only."""
    answer = await api.client.post(TOKEN, content=b"a=%ff", headers={b"Content-Type": b't\xe9"xt\\plain'})
    described = answer.json()["error_description"]
    assert described.isascii() and not set('"\\') & set(described)
