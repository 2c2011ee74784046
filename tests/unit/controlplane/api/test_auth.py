"""Who may: tokens, scopes, users as they are now, and the demo's reads from this machine."""

from __future__ import annotations

import httpx
import pytest

from tests.support.api import NOBODY, READER, Api, running_api

SERVICES = "/api/v1/services"
SCOPE = {"name": "new"}


async def create_scope(api: Api, headers: dict[str, str]) -> httpx.Response:
    return await api.client.post("/api/v1/config/scopes", json=SCOPE, headers=headers)


async def test_without_a_token(api: Api) -> None:
    answer = await api.client.get(SERVICES)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Could not validate credentials")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="headgate"'
    assert answer.json()["reason"].startswith("the request has no token")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "a b", "x" * 10_000])
async def test_with_a_bad_token(api: Api, token: str) -> None:
    answer = await api.client.get(SERVICES, headers={b"Authorization": f"Bearer {token}".encode()})
    assert (answer.status_code, answer.json()["detail"]) == (401, "Could not validate credentials")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="headgate", error="invalid_token"'
    assert answer.json()["reason"] == "the token is not an access token of this gateway"


async def test_another_scheme_is_no_token(api: Api) -> None:
    answer = await api.client.get(SERVICES, auth=("admin", "password"))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="headgate"')


async def test_two_tokens_are_none(api: Api) -> None:
    value = (await api.token())["Authorization"]
    answer = await api.client.get(SERVICES, headers=[("Authorization", value), ("Authorization", value)])
    assert answer.status_code == 401


async def test_an_expired_token(api: Api) -> None:
    headers = await api.token()
    assert (await api.client.get(SERVICES, headers=headers)).status_code == 200
    api.wall.now += 901
    answer = await api.client.get(SERVICES, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (401, "the token has expired")


async def test_a_token_whose_user_has_another_password(api: Api) -> None:
    headers = await api.token()
    changed = {"password": "another password", "scopes": ["gateway:admin"]}
    await api.parts.commands.put("user", changed, name="admin", author="me")
    await api.seen()
    answer = await api.client.get(SERVICES, headers=headers)
    assert answer.status_code == 401
    assert "since the token was issued, its user was deleted or disabled" in answer.json()["reason"]


async def test_a_refresh_token_is_no_access_token(api: Api) -> None:
    assert api.parts.grants is not None
    tokens = await api.parts.grants.password("admin", "password")
    answer = await api.client.get(SERVICES, headers={"Authorization": f"Bearer {tokens.refresh_token}"})
    assert answer.status_code == 401


async def test_a_reader_may_look_and_not_change(api: Api) -> None:
    headers = await api.token(READER)
    assert (await api.client.get(SERVICES, headers=headers)).status_code == 200
    answer = await create_scope(api, headers)
    said = "Not enough permissions: user 'reader' needs the scope gateway:admin, and this token holds gateway:read"
    assert (answer.status_code, answer.json()["detail"]) == (403, said)
    assert (answer.json()["user"], answer.json()["needed"]) == ("reader", "gateway:admin")
    challenge = 'Bearer realm="headgate", error="insufficient_scope", scope="gateway:admin"'
    assert answer.headers["WWW-Authenticate"] == challenge


async def test_a_user_without_scopes_may_not_even_look(api: Api) -> None:
    answer = await api.client.get(SERVICES, headers=await api.token(NOBODY))
    assert answer.status_code == 403
    assert 'scope="gateway:read"' in answer.headers["WWW-Authenticate"]


async def test_admin_implies_read(api: Api) -> None:
    assert (await api.client.get(SERVICES, headers=await api.token())).status_code == 200


async def test_a_scope_that_was_taken_away_is_gone_at_once(api: Api) -> None:
    headers, admin = await api.token(READER), await api.token()
    await api.client.put("/api/v1/config/users/reader", json={"scopes": []}, headers=admin)
    await api.seen()
    assert (await api.client.get(SERVICES, headers=headers)).status_code == 403


async def test_a_scope_that_was_given_counts_before_the_watcher_saw_it(api: Api) -> None:
    admin = await api.token()
    user = {"password": "password", "scopes": ["gateway:read"]}
    await api.client.put("/api/v1/config/users/fresh", json=user, headers=admin)
    headers = await api.token("fresh")
    assert (await api.client.get(SERVICES, headers=headers)).status_code == 200


@pytest.mark.parametrize("change", ["disable", "delete"])
async def test_a_user_that_is_gone_is_nobody(api: Api, change: str) -> None:
    headers, admin = await api.token(READER), await api.token()
    if change == "delete":
        await api.client.delete("/api/v1/config/users/reader", headers=admin)
    else:
        await api.client.put("/api/v1/config/users/reader", json={"disabled": True}, headers=admin)
    await api.seen()
    assert (await api.client.get(SERVICES, headers=headers)).status_code == 401


# ANONYMOUS_READ


async def anonymous(peer: str = "127.0.0.1", method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with running_api(anonymous_read=True, peer=peer) as api:
        path = "/api/v1/circuits/orders/reset" if method == "POST" else SERVICES
        return (await api.client.request(method, path, headers=named)).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_Forwarded_For": "127.0.0.1"},
        {"X_Forwarded_For": "127.0.0.1, ::1"},
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:8080"},
        {"Host": "LOCALHOST:8000"},
    ],
)
async def test_reading_without_a_token_from_this_machine(headers: dict[str, str]) -> None:
    assert await anonymous(**headers) == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {}),
        ("192.0.2.7", {"X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"X_Forwarded_For": "192.0.2.7"}),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1, 192.0.2.7"}),
        ("127.0.0.1", {"X_Forwarded_For": "192.0.2.7, 127.0.0.1"}),
        ("127.0.0.1", {"X_Forwarded_For": "unknown"}),
        ("127.0.0.1", {"X_Forwarded_For": ""}),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", {"Host": "rebound.example:8080"}),
        ("127.0.0.1", {"Host": "localhost.example"}),
        ("127.0.0.1", {"Authorization": "Bearer nonsense"}),
    ],
)
async def test_anything_else_needs_a_token(peer: str, headers: dict[str, str]) -> None:
    assert await anonymous(peer, **headers) == 401


async def test_changing_always_needs_a_token() -> None:
    assert await anonymous(method="POST") == 401


async def test_it_is_off_unless_set(api: Api) -> None:
    assert (await api.client.get(SERVICES)).status_code == 401
