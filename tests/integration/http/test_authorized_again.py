"""External authorization: which requests an answer holds for, and what later steps read in the fields that it sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.config.table import Item
from dataplane.gateway import authorizing
from dataplane.gateway.policy.authorization import Authorization
from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.forwarding import Forwarding, Share, Sticky
from dataplane.gateway.policy.resources import Instance, Route, Service
from tests.integration.http.fields import GET, lines, values, with_fields
from tests.integration.http.test_authorizing import RULES, asked
from tests.support.http_stage import OK, Conversation, Script, Upstream, answering, stage
from tests.support.waiting import eventually

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
ALL = replace(RULES, cache_seconds=60.0)
KEYED = replace(ALL, request_headers=("x-tenant",), cache_key=("x-tenant",))
OTHER = b"X-Tenant: other"


def refusing(name: bytes, *refused: bytes) -> Script:
    """A service that looks at the first field of this name, and refuses these values."""

    async def script(talk: Conversation) -> None:
        while True:
            found = values(await talk.head(), name)
            await talk.say(FORBIDDEN if found and found[0] in refused else OK)

    return script


ANSWERS: list[tuple[str, Authorization, Script, tuple[bytes, ...], tuple[bytes, ...], bool]] = [
    # what, rules, service, fields of a request that passes and of one that must not, the client is a trusted peer
    (
        "a field that Connection withholds (RFC 9110, 7.6.1)",
        replace(
            KEYED, request_headers=("authorization", "x-tenant"), cache_key=("authorization", "x-tenant")
        ),
        refusing(b"x-tenant", b"other"),
        (b"Authorization: Bearer a", OTHER, b"Connection: x-tenant"),
        (b"Authorization: Bearer a", OTHER),
        False,
    ),
    (
        "a list in two lines",
        KEYED,
        refusing(b"x-tenant", b"mine, other"),
        (b"X-Tenant: mine", OTHER),
        (b"X-Tenant: mine, other",),
        False,
    ),
    (
        "the scheme that a trusted peer states",
        ALL,
        refusing(b"x-forwarded-proto", b"http"),
        (b"X-Forwarded-Proto: https",),
        (b"X-Forwarded-Proto: http",),
        True,
    ),
    (
        "the host that a trusted peer states",
        ALL,
        refusing(b"x-forwarded-host", b"other"),
        (b"X-Forwarded-Host: mine",),
        (b"X-Forwarded-Host: other",),
        True,
    ),
]


@pytest.mark.parametrize(
    ("source", "rules", "script", "passes", "refused", "trusted"), ANSWERS, ids=[row[0] for row in ANSWERS]
)
async def test_an_answer_is_not_used_where_the_service_would_see_something_else(
    source: str,
    rules: Authorization,
    script: Script,
    passes: tuple[bytes, ...],
    refused: tuple[bytes, ...],
    trusted: bool,
) -> None:
    async with asked(Upstream(script), rules, trusted=["127.0.0.1"] if trusted else []) as (gate, _):
        assert (await gate.ask(with_fields(GET, *passes)))[1] == b"ok"
        head, _ = await gate.ask(with_fields(GET, *refused))
        assert lines(head)[0].startswith(b"HTTP/1.1 403")


async def test_a_field_of_the_answer_is_that_of_one_request() -> None:
    """Requests with the same head share what was looked up in it. The route's service is chosen by a field that the
    answer sets; the next request, of which the service was not asked, does not have it."""
    auth = Upstream(answering(b"HTTP/1.1 200 OK\r\nX-Role: admin\r\nContent-Length: 0\r\n\r\n"))
    await auth.start()
    rules = replace(RULES, to_service=("x-role",))
    shared = Forwarding(authorization=rules, shares=(Share("s", 1),), sticky=Sticky(header="x-role"))
    admins = Conditions(headers=(Condition("x-role", "admin"),))
    routes = [
        Route("asked", "s", prefix="/asked", public=True, forwarding=shared),
        Route("admins", "s", prefix="/", public=True, conditions=admins),
        Route("all", "s", prefix="/", public=True),
    ]
    service, instance = Service("auth"), Instance("auth", "1", "127.0.0.1", auth.port)
    try:
        async with stage(Upstream(answering(OK)), routes=routes, more=[service, instance]) as gate:
            client = await gate.client()
            for path in [b"/asked"] * 20 + [b"/other"]:
                await client.say(GET.replace(b"/a", path, 1))
                assert (await client.answer())[1] == b"ok"
            plan = gate.observer.exchanges[-1].plan
            assert plan is not None and plan.route_name == "all"
    finally:
        await auth.stop()


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def test_a_slow_service_takes_no_place_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of one route must not let those of another pass unasked, where it fails open."""
    monkeypatch.setattr(authorizing, "MOST_ASKED", 2)
    slow, quick = Upstream(silent), Upstream(answering(FORBIDDEN))
    more: list[Item] = []
    routes = []
    for name, auth in (("slow", slow), ("quick", quick)):
        await auth.start()
        more += [Service(name), Instance(name, "1", "127.0.0.1", auth.port)]
        rules = Forwarding(authorization=replace(RULES, service=name, timeout=5.0, fail_open=True))
        routes.append(Route(name, "s", prefix=f"/{name}", public=True, forwarding=rules))
    try:
        async with stage(Upstream(answering(OK)), routes=routes, more=more) as gate:
            for _ in range(2):
                await (await gate.client()).say(GET.replace(b"/a", b"/slow", 1))
            await eventually(lambda: len(slow.heads) == 2)
            head, _ = await gate.ask(GET.replace(b"/a", b"/quick", 1))
            assert lines(head)[0].startswith(b"HTTP/1.1 403")
    finally:
        await slow.stop()
        await quick.stop()
