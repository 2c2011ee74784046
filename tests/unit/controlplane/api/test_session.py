"""Sessions of the dashboard: cookies that count only in requests of its own page, over TLS or on loopback."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request

from controlplane.api import auth
from controlplane.api.session import HEADER
from tests.support.api import ADMIN, NOBODY, PASSWORD, READER, TAPPER, Api, running_api

OWN = {HEADER: "1", "Sec-Fetch-Site": "same-origin"}
"""Fields of the page's own requests that change something."""
SERVICE = {"service_name": "orders", "instances": []}


async def log_in(api: Api, username: str = ADMIN, **headers: str) -> httpx.Response:
    """The answer to a login."""
    sent = {"username": username, "password": PASSWORD}
    return await api.client.post("/session", json=sent, headers={**OWN, **headers})


async def test_a_login_sets_cookies_that_no_script_reads_and_no_other_site_sends(api: Api) -> None:
    answer = await log_in(api)
    assert answer.status_code == 200, answer.text
    assert answer.json() | {"expires": None} == {
        "username": ADMIN,
        "read": True,
        "write": True,
        "scopes": ["gateway:admin"],
        "expires": None,
        "seconds": 900,
        "renewable": True,
        "version": "1.2.3",
    }
    access, renewal = answer.headers.get_list("Set-Cookie")
    for cookie, path in ((access, "Path=/;"), (renewal, "Path=/session;")):
        assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; ")) and path in f"{cookie};"
    assert "Max-Age=900" in access and "Max-Age=86400" in renewal
    assert answer.json().keys().isdisjoint({"access_token", "refresh_token"})
    assert (await api.client.get("/api/v1/services")).status_code == 200
    assert (await api.client.put("/api/v1/services/orders", json=SERVICE, headers=OWN)).status_code == 201


async def test_over_tls_the_cookies_are_bound_to_the_host(api: Api) -> None:
    answer = await log_in(api, **{"X-Forwarded-Proto": "https", "Host": "gateway.example.org"})
    access, renewal = answer.headers.get_list("Set-Cookie")
    assert access.startswith("__Host-headgate=") and "Secure" in access
    assert renewal.startswith("__Secure-headgate-renew=") and "Secure" in renewal


async def test_nobody_logs_in_over_an_open_network() -> None:
    async with running_api() as api:
        plain = await log_in(api, Host="gateway.example.org")
        assert plain.status_code == 403 and "only over TLS" in plain.json()["detail"]
        page = await api.client.get("/", headers={"Accept": "text/html", "Host": "gateway.example.org"})
        assert page.status_code == 403 and "only over TLS" in page.text
        api.parts.trusted_proxies = ()
        told = await log_in(api, **{"X-Forwarded-Proto": "https", "Host": "gateway.example.org"})
        assert told.status_code == 403, "the peer is not a trusted proxy"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 202),
        ({HEADER: "1", "Origin": "http://localhost:8080"}, 202),
        ({HEADER: "1"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({HEADER: "1", "Sec-Fetch-Site": "same-site"}, 403),
        ({HEADER: "1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({HEADER: "1", "Origin": "http://localhost:3000"}, 403),
        ({HEADER: "1", "Origin": "null"}, 403),
    ],
)
async def test_a_change_with_a_cookie_must_come_from_the_page_itself(
    api: Api, headers: dict[str, str], status: int
) -> None:
    await log_in(api)
    made = await api.client.put("/api/v1/services/orders", json=SERVICE, headers=OWN)
    assert made.status_code == 201
    await api.seen()
    answer = await api.client.post("/api/v1/circuits/orders/reset", headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
)
async def test_other_pages_read_nothing_with_the_cookie(api: Api, site: str, status: int) -> None:
    await log_in(api)
    assert (await api.client.get("/api/v1/users", headers={"Sec-Fetch-Site": site})).status_code == status


async def test_a_token_in_the_request_needs_none_of_this(api: Api) -> None:
    headers = {**await api.token(), "Sec-Fetch-Site": "cross-site"}
    assert (await api.client.put("/api/v1/services/orders", json=SERVICE, headers=headers)).status_code == 201


async def test_rights_are_those_of_the_user(api: Api) -> None:
    assert (await log_in(api, READER)).json()["write"] is False
    refused = await api.client.put("/api/v1/services/orders", json=SERVICE, headers=OWN)
    assert refused.status_code == 403
    assert (await api.client.get("/session")).json()["username"] == READER
    nobody = await log_in(api, NOBODY)
    assert nobody.status_code == 403 and "gateway:read" in nobody.json()["detail"]
    assert "Set-Cookie" not in nobody.headers


async def test_a_wrong_password_is_refused_in_the_words_of_every_login(api: Api) -> None:
    sent = {"username": ADMIN, "password": "wrong"}
    wrong = await api.client.post("/session", json=sent, headers=OWN)
    assert wrong.status_code == 401 and "Set-Cookie" not in wrong.headers


async def test_without_a_session_it_says_what_may_be_seen_without_one() -> None:
    async with running_api() as api:
        found = (await api.client.get("/session")).json()
        assert (found["username"], found["read"], found["write"], found["renewable"]) == (
            None,
            False,
            False,
            False,
        )
    async with running_api(anonymous_read=True) as api:
        found = (await api.client.get("/session")).json()
        assert (found["username"], found["read"], found["write"]) == (None, True, False)


async def test_a_session_is_renewed_and_ends(api: Api) -> None:
    await log_in(api)
    before = dict(api.client.cookies)
    renewed = await api.client.post("/session/renew", headers=OWN)
    assert renewed.status_code == 200 and renewed.json()["username"] == ADMIN
    assert dict(api.client.cookies) != before
    last = api.client.cookies["headgate-renew"]
    assert (await api.client.delete("/session", headers=OWN)).status_code == 204
    assert not api.client.cookies
    assert (await api.client.get("/api/v1/services")).status_code == 401
    again = await api.client.post("/session/renew", headers={**OWN, "Cookie": f"headgate-renew={last}"})
    assert again.status_code == 401, "the login has ended, whoever kept the cookie"


async def access_kept(api: Api) -> str:
    """The field of a login's access token, as a thief has copied it."""
    await log_in(api)
    return f"headgate={api.client.cookies['headgate']}"


async def test_a_logout_ends_the_access_token_too(api: Api) -> None:
    kept = await access_kept(api)
    token = {"Authorization": f"Bearer {kept.removeprefix('headgate=')}"}
    assert (await api.client.get("/api/v1/services", headers=token)).status_code == 200
    assert (await api.client.delete("/session", headers=OWN)).status_code == 204
    api.client.cookies.clear()
    for headers in ({"Cookie": kept}, token):
        answer = await api.client.get("/api/v1/services", headers=headers)
        assert answer.status_code == 401 and "has ended" in answer.json()["reason"]
    (entry,) = (await api.store.list("/headgate/revoked/")).entries
    assert entry.lease, "it goes when the tokens have expired"


async def test_a_logout_ends_the_tokens_from_before_a_renewal_and_no_other_login(api: Api) -> None:
    other, kept = await access_kept(api), await access_kept(api)
    await api.client.post("/session/renew", headers=OWN)
    await api.client.delete("/session", headers=OWN)
    assert (await api.client.get("/api/v1/services", headers={"Cookie": kept})).status_code == 401
    assert (await api.client.get("/api/v1/services", headers={"Cookie": other})).status_code == 200
    assert (await log_in(api)).status_code == 200


async def test_a_logout_with_the_access_cookie_alone_ends_the_login(api: Api) -> None:
    kept = await access_kept(api)
    renewal = f"headgate-renew={api.client.cookies['headgate-renew']}"
    api.client.cookies.clear()
    assert (await api.client.delete("/session", headers={**OWN, "Cookie": kept})).status_code == 204
    assert (await api.client.get("/api/v1/services", headers={"Cookie": kept})).status_code == 401
    renewed = await api.client.post("/session/renew", headers={**OWN, "Cookie": renewal})
    assert renewed.status_code == 401


async def test_a_logout_that_the_store_does_not_take_says_so_and_can_be_repeated(api: Api) -> None:
    kept = await access_kept(api)
    api.store.available = False
    assert (await api.client.delete("/session", headers=OWN)).status_code == 503
    assert api.client.cookies, "the browser still has what it needs to log out"
    api.store.available = True
    assert (await api.client.delete("/session", headers=OWN)).status_code == 204
    assert (await api.client.get("/api/v1/services", headers={"Cookie": kept})).status_code == 401


async def test_a_stream_ends_with_its_login(api: Api) -> None:
    headers = [(b"cookie", (await access_kept(api)).encode()), (b"host", b"localhost")]
    request = Request({"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": headers})
    assert await auth.lost(api.parts, request, "gateway:read") is None
    await api.client.delete("/session", headers=OWN)
    refused = await auth.lost(api.parts, request, "gateway:read")
    assert refused is not None and refused.status == 401


async def test_a_login_without_the_right_to_look_begins_nothing_and_a_renewal_uses_nothing_up(
    api: Api,
) -> None:
    for username in (NOBODY, TAPPER):
        refused = await log_in(api, username)
        assert refused.status_code == 403 and not api.client.cookies
    await log_in(api, READER)
    await api.parts.commands.put("user", {"scopes": ["gateway:read", "gateway:tap"]}, name=READER, author="t")
    await log_in(api, READER)
    await api.parts.commands.put("user", {"scopes": ["gateway:tap"]}, name=READER, author="test")
    await api.seen()
    assert (await api.client.post("/session/renew", headers=OWN)).status_code == 403
    assert not (await api.store.list("/headgate/refresh/")).entries
    await api.parts.commands.put("user", {"scopes": ["gateway:read", "gateway:tap"]}, name=READER, author="t")
    await api.seen()
    assert (await api.client.post("/session/renew", headers=OWN)).status_code == 200


async def test_without_the_dashboard_cookies_mean_nothing(api: Api) -> None:
    await log_in(api)
    api.parts.dashboard = False
    assert (await api.client.get("/api/v1/services")).status_code == 401
    assert (await api.client.get("/session")).status_code == 404
    assert (await log_in(api)).status_code == 404


async def test_over_tls_a_cookie_that_anybody_can_set_is_no_session(api: Api) -> None:
    await log_in(api)
    secure = {"X-Forwarded-Proto": "https"}
    assert (await api.client.get("/api/v1/services")).status_code == 200
    assert (await api.client.get("/api/v1/services", headers=secure)).status_code == 401
    assert (await api.client.post("/session/renew", headers={**OWN, **secure})).status_code == 401


async def test_a_token_of_the_request_counts_and_not_the_cookie(api: Api) -> None:
    headers = {**await api.token(), "Cookie": "headgate=broken"}
    found = await api.client.get("/session", headers=headers)
    assert found.status_code == 200, found.text
    assert (found.json()["username"], found.json()["write"]) == (None, True)


async def test_a_login_without_the_granted_scopes_is_not_renewed(api: Api) -> None:
    await log_in(api, READER)
    await api.parts.commands.put("user", {"scopes": []}, name=READER, author="test")
    await api.seen()
    answer = await api.client.post("/session/renew", headers=OWN)
    assert answer.status_code == 401, answer.text


async def test_a_login_is_small(api: Api) -> None:
    sent = {"username": ADMIN, "password": "x" * 10_000}
    assert (await api.client.post("/session", json=sent, headers=OWN)).status_code == 413
