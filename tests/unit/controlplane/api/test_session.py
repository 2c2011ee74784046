"""Sessions of the dashboard: cookies that count only in requests of its own page, over TLS or on loopback."""

from __future__ import annotations

import httpx
import pytest

from controlplane.api.session import HEADER
from tests.support.api import ADMIN, NOBODY, PASSWORD, READER, Api, running_api

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
