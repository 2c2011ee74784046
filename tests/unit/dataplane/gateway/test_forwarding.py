"""Shares of services, answers of the gateway's own, redirects and rewrites. Rows name their source: HTTPRoute* are the
conformance tests of the Gateway API, HTTPURLRewriteFilter and its like its types (apis/v1/httproute_types.go)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dataplane.config.table import Item, UnlinkedRoute
from dataplane.gateway.actions import Redirected, Responded, WithoutService
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.gateway.policy.forwarding import Forwarding, Redirect, Respond, Share, Sticky, Substitution
from dataplane.gateway.policy.resources import Instance, Limit, LimitKey, Route, Service
from dataplane.gateway.policy.router import AMBIGUOUS_PATH
from dataplane.gateway.refusals import respond
from dataplane.proxy.exchange import Exchange
from headgate_api.expressions import compiled
from tests.unit.dataplane.gateway.line import ALICE, BASE, PUBLIC, Line, orders, sent

SERVICES: tuple[Item, ...] = tuple(
    item for name in ("v1", "v2", "v3") for item in (Service(name), Instance(name, "1", "127.0.0.1", 80))
)


def route(forwarding: Forwarding, service: str = "", **fields: Any) -> UnlinkedRoute:
    match = fields or {"prefix": "/"}
    return UnlinkedRoute(Route("r", service, public=True, forwarding=forwarding, **match))


def split(*weights: tuple[str, int], sticky: Sticky | None = None) -> UnlinkedRoute:
    return route(Forwarding(shares=tuple(Share(*one) for one in weights), sticky=sticky))


def went(line: Line, *fields: tuple[bytes, bytes]) -> tuple[str, Exchange]:
    """The service of a request, or the status."""
    refusal, exchange = line.ask("/", *fields)
    if refusal is not None:
        return str(respond(refusal).status), exchange
    assert exchange.plan is not None
    line.end(exchange)
    return exchange.plan.service_name, exchange


SHARES = [
    # HTTPRouteWeight: 500 requests, 5 % off at most; weight 0 gets none (BackendRef.weight)
    ((("v1", 70), ("v2", 30), ("v3", 0)), {"v1": 350, "v2": 150}),
    ((("v1", 100), ("v2", 0)), {"v1": 500}),
    ((("v1", 0), ("v2", 100)), {"v2": 500}),
    ((("v1", 1), ("v2", 1)), {"v1": 250, "v2": 250}),
    ((("v1", 99), ("v2", 1)), {"v1": 495, "v2": 5}),
    # HTTPRoutePartiallyInvalidViaInvalidReferenceGrant: the invalid share is answered with 500
    ((("v1", 50), ("", 50)), {"v1": 250, "500": 250}),
    # HTTPRouteNoBackendRefs, and no weight above 0: HTTPRouteRule.backendRefs
    ((("", 1),), {"500": 500}),
    ((("v1", 0), ("v2", 0)), {"500": 500}),
]


@pytest.mark.parametrize(("weights", "expected"), SHARES)
def test_shares_are_those_of_the_weights(
    weights: tuple[tuple[str, int], ...], expected: dict[str, int]
) -> None:
    line = Line(*SERVICES, split(*weights))
    found = Counter(went(line)[0] for _ in range(500))
    assert found.keys() == expected.keys()
    assert all(abs(found[name] - count) <= 2 for name, count in expected.items())


def test_shares_hold_while_the_configuration_changes() -> None:
    """A small share must not begin anew with each change."""
    line = Line(*SERVICES, split(("v1", 95), ("v2", 5)))
    found: Counter[str] = Counter()
    for number in range(200):
        line.swap(*SERVICES, split(("v1", 95), ("v2", 5)), Service(f"other{number}"))
        found[went(line)[0]] += 1
    assert abs(found["v2"] - 10) <= 2


def test_a_change_of_weights_takes_effect_at_once() -> None:
    line = Line(*SERVICES, split(("v1", 100), ("v2", 0)))
    for weights, only in (((("v1", 0), ("v2", 100))), "v2"), ((("v1", 100), ("v2", 0)), "v1"):
        line.swap(*SERVICES, split(*weights))
        assert {went(line)[0] for _ in range(20)} == {only}


def test_a_share_counts_and_waits_as_its_service() -> None:
    line = Line(*SERVICES, split(("v1", 1)))
    _, exchange = went(line)
    assert exchange.endpoint is not None and exchange.endpoint.in_flight == 0
    assert exchange.plan is not None and exchange.plan.connect_timeout == 5.0
    line.swap(Service("v1"), split(("v1", 1)))
    refusal, _ = line.ask("/")
    assert respond(refusal).status == 503


def test_a_caller_stays_on_its_side_by_header() -> None:
    line = Line(*SERVICES, split(("v1", 50), ("v2", 50), sticky=Sticky(header="x-user")))
    sides = {}
    for number in range(200):
        name = b"user-%d" % number
        sides[name] = went(line, (b"X-User", name))[0]
        assert went(line, (b"X-User", name))[0] == sides[name]
    assert 70 < list(sides.values()).count("v1") < 130
    assert {went(line)[0] for _ in range(20)} == {"v1", "v2"}
    # Only callers between the old border and the new one move.
    line.swap(*SERVICES, split(("v1", 75), ("v2", 25), sticky=Sticky(header="x-user")))
    after = {name: went(line, (b"X-User", name))[0] for name in sides}
    assert all(after[name] == "v1" for name, before in sides.items() if before == "v1")


def test_a_caller_without_the_cookie_gets_it_and_stays() -> None:
    line = Line(
        *SERVICES, split(("v1", 50), ("v2", 50), sticky=Sticky(cookie="side")), trusted=["203.0.113.9"]
    )
    side, exchange = went(line)
    assert exchange.response_fields == (("set-cookie", "side=id-1; Path=/; HttpOnly; SameSite=Lax"),)
    # RFC 6265, 4.1.2.5: a cookie that was set over TLS is never sent without it.
    _, secure = went(line, (b"X-Forwarded-Proto", b"https"))
    assert secure.response_fields == (("set-cookie", "side=id-1; Path=/; HttpOnly; SameSite=Lax; Secure"),)
    for _ in range(5):
        again, second = went(line, (b"Cookie", b"a=b; side=id-1"))
        assert (again, second.response_fields) == (side, ())


def test_limits_come_before_the_choice() -> None:
    limited = UnlinkedRoute(split(("v1", 1)).route, ("few",))
    line = Line(*SERVICES, limited, Limit("few", 1, 1, LimitKey.ROUTE))
    assert [went(line)[0] for _ in range(2)] == ["v1", "429"]


def test_a_route_answers_by_itself() -> None:
    line = Line(route(Forwarding(respond=Respond(503, "später".encode(), "text/plain"))))
    refusal, exchange = line.ask("/")
    assert isinstance(refusal, Responded) and exchange.endpoint is None
    reply = respond(refusal)
    assert (reply.status, reply.body, reply.decision) == (503, "später".encode(), "responded")
    assert dict(reply.fields) == {"content-type": "text/plain", "content-length": "7"}


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_states_no_length(status: int) -> None:
    """RFC 9110, 8.6."""
    refusal, _ = Line(route(Forwarding(respond=Respond(status, b"", "text/plain")))).ask("/")
    assert respond(refusal).fields == ()


def test_an_answer_needs_a_token_like_a_service() -> None:
    private = Route("r", "", prefix="/", forwarding=Forwarding(respond=Respond(200, b"", "")))
    refusal, _ = Line(UnlinkedRoute(private)).ask("/")
    assert respond(refusal).status == 401


def test_what_cannot_be_used_is_an_error_of_its_route_alone() -> None:
    other = UnlinkedRoute(Route("other", "v1", prefix="/other", public=True))
    line = Line(*SERVICES, route(Forwarding(unusable="respond.status: too new"), prefix="/new"), other)
    refusal, _ = line.ask("/new")
    reply = respond(refusal)
    assert (reply.status, reply.decision, reply.reason) == (500, "unusable", "respond.status: too new")
    assert line.ask("/other")[0] is None


REDIRECTS: list[tuple[str, Redirect, str, str, str]] = [
    # source, redirect, target at a.example, status and location
    ("HTTPRouteRedirectHostAndStatus", Redirect(host="example.org"), "/x", "302", "http://example.org/x"),
    ("HTTPRouteRedirectHostAndStatus", Redirect(host="e.org", status=301), "/", "301", "http://e.org/"),
    ("HTTPRouteRedirectScheme", Redirect(scheme="https"), "/x?y=1", "302", "https://a.example/x?y=1"),
    ("HTTPRouteRedirectPort", Redirect(port=8083), "/x", "302", "http://a.example:8083/x"),
    ("HTTPRouteRedirectPort", Redirect(port=80), "/x", "302", "http://a.example/x"),
    ("HTTPRouteRedirectPort", Redirect(scheme="https", port=443), "/x", "302", "https://a.example/x"),
    ("HTTPRouteRedirectPort", Redirect(scheme="https", port=80), "/x", "302", "https://a.example:80/x"),
    ("HTTPRouteRedirectPath", Redirect(path="/full"), "/old/x?y", "302", "http://a.example/full?y"),
    ("HTTPRouteRedirectPath", Redirect(prefix="/new"), "/old/x", "302", "http://a.example/new/x"),
    ("HTTPRouteRedirectPath", Redirect(prefix="/"), "/old/x", "302", "http://a.example/x"),
    ("HTTPRouteRedirectPath", Redirect(prefix="/new"), "/old", "302", "http://a.example/new"),
    ("HTTPRouteRedirect303", Redirect(scheme="https", status=303), "/", "303", "https://a.example/"),
    ("HTTPRouteRedirect307", Redirect(scheme="https", status=307), "/", "307", "https://a.example/"),
    ("HTTPRouteRedirect308", Redirect(scheme="https", status=308), "/", "308", "https://a.example/"),
]


@pytest.mark.parametrize(("source", "redirect", "target", "status", "location"), REDIRECTS)
def test_a_redirect(source: str, redirect: Redirect, target: str, status: str, location: str) -> None:
    prefix = "/old" if target.startswith("/old") else "/"
    refusal, _ = Line(route(Forwarding(redirect=redirect), prefix=prefix)).ask(target)
    assert isinstance(refusal, Redirected)
    reply = respond(refusal)
    assert (str(reply.status), dict(reply.fields)["location"]) == (status, location)


def test_a_redirect_keeps_the_port_and_scheme_that_the_client_used() -> None:
    """HTTPRequestRedirectFilter.port: without a new scheme, that of the listener."""
    line = Line(route(Forwarding(redirect=Redirect(path="/x"))), trusted=["203.0.113.9"])
    for host, fields, location in (
        (b"a.example:8080", (), "http://a.example:8080/x"),
        (b"[2001:db8::1]:8080", (), "http://[2001:db8::1]:8080/x"),
        (b"[2001:db8::1]", (), "http://[2001:db8::1]/x"),
        (b"a.example", ((b"X-Forwarded-Proto", b"https"),), "https://a.example/x"),
    ):
        refusal, _ = line.ask("/", *fields, host=host)
        assert dict(respond(refusal).fields)["location"] == location


NO_HOSTS = [
    # RFC 9110, 10.2.2: a relative reference, as far as it can say what is wanted. One that leads back is none.
    (Redirect(path="/x"), "302", "/x"),
    (Redirect(host="b.example"), "302", "http://b.example/"),
    (Redirect(scheme="https", host="b.example"), "302", "https://b.example/"),
    (Redirect(scheme="https"), "400", None),
    (Redirect(port=8443), "400", None),
]


@pytest.mark.parametrize(("redirect", "status", "location"), NO_HOSTS)
def test_a_redirect_without_a_host(redirect: Redirect, status: str, location: str | None) -> None:
    """HTTP/1.0 has none (RFC 9112, 3.2)."""
    line = Line(route(Forwarding(redirect=redirect)))
    refusal, exchange = line.ask("/", host=b"")
    reply = line.gateway.refuse(exchange, refusal)
    assert (str(reply.status), dict(reply.fields).get("location")) == (status, location)


def test_own_answers_are_edited_like_responses() -> None:
    """HTTPRouteResponseHeaderModifier, on routes without a service."""
    edits = HeaderEdits(
        {"strict-transport-security": "max-age=1", "content-type": "text/html"},
        {"x-route": "%{route}", "x-client": "%{address}"},
        ("location",),
    )
    cors = Cors(origins=frozenset({"https://a.example"}))
    for own in (
        Forwarding(respond=Respond(200, b"x", "text/plain"), response_edits=edits),
        Forwarding(redirect=Redirect(path="/x"), response_edits=edits, cors=cors),
    ):
        line = Line(route(own))
        refusal, exchange = line.ask("/", (b"Origin", b"https://a.example"))
        reply = line.gateway.refuse(exchange, refusal)
        found = dict(reply.fields)
        assert len(found) == len(reply.fields), "none is there twice"
        assert (found["strict-transport-security"], found["x-route"]) == ("max-age=1", "r")
        assert (found["content-type"], found["x-client"]) == ("text/html", "203.0.113.9")
        assert found["content-length"] == str(len(reply.body)) and "location" not in found
        allowed = own.cors is not None
        assert (found.get("access-control-allow-origin") == "https://a.example") is allowed
        assert (found.get("vary") == "Origin") is allowed
    # Refusals are not the route's own.
    line = Line(UnlinkedRoute(Route("r", "", prefix="/", forwarding=own)))
    refusal, exchange = line.ask("/")
    assert "x-route" not in dict(line.gateway.refuse(exchange, refusal).fields)


def sub(pattern: str, text: str) -> Forwarding:
    return Forwarding(substitution=Substitution(pattern, text, compiled(pattern)))


REWRITES: list[tuple[str, Forwarding, str, str]] = [
    # source, rewrite, target, target that is sent
    ("HTTPRouteRewritePath: ReplaceFullPath", Forwarding(path="/one"), "/full/one?x=1", "/one?x=1"),
    ("HTTPPathModifier.replaceFullPath", Forwarding(path="/"), "/a/b", "/"),
    ("RE2 GlobalReplace", sub("/v([0-9]+)/", r"/\1/"), "/v2/orders?x", "/2/orders?x"),
    ("RE2 GlobalReplace", sub("a", "b"), "/a/a", "/b/b"),
    ("RE2 GlobalReplace", sub("^/old", ""), "/old", "/"),
    ("a path begins with a slash (RFC 9112, 3.2.1)", sub("^/", "x"), "/old", "/xold"),
    ("RFC 3986, 6.2.2.3", sub("b", ".."), "/a/b/c", "/c"),
    ("RE2 Rewrite: the match", sub("/old", r"/new\0"), "/old/x", "/new/old/x"),
    ("RE2 Rewrite: one digit", sub("/v([0-9])/", r"/\10/"), "/v2/x", "/20/x"),
    ("RE2 Rewrite: no octal digits", sub("/v", r"/\012"), "/v/x", "//v12/x".replace("//", "/")),
    ("RE2 Rewrite: a group without part", sub("/(a)?b", r"/c\1"), "/b", "/c"),
    ("no spelling gets around it", sub("^/old/", "/new/"), "/%6Fld/x", "/new/x"),
    ("no spelling gets around it", sub(r"^/\$old/", "/new/"), "/%24old/x", "/new/x"),
    ("ingress-nginx 5576: other characters stay encoded", sub("^/old/", "/new/"), "/old/a%24b", "/new/a%24b"),
]


@pytest.mark.parametrize(("source", "forwarding", "target", "expected"), REWRITES)
def test_a_rewrite_of_the_path(source: str, forwarding: Forwarding, target: str, expected: str) -> None:
    refusal, exchange = Line(*SERVICES, route(forwarding, "v1")).ask(target)
    assert refusal is None
    assert sent(exchange).decode() == expected


def test_a_substitution_cannot_climb_above_the_root() -> None:
    refusal, exchange = Line(*SERVICES, route(sub("a", ".."), "v1")).ask("/a/a")
    assert refusal is AMBIGUOUS_PATH and exchange.endpoint is None


def test_a_rewrite_of_the_host() -> None:
    """HTTPRouteRewriteHost: X-Forwarded-Host still has the one that the client sent."""
    _, exchange = Line(*SERVICES, route(Forwarding(host="one.example.org"), "v1")).ask("/")
    assert exchange.plan is not None and exchange.plan.authority == b"one.example.org"


def test_a_share_without_service_is_told() -> None:
    refusal, _ = Line(split(("", 1))).ask("/")
    assert isinstance(refusal, WithoutService)
    assert respond(refusal).decision == "without_service"


def test_a_plain_route_pays_for_no_action() -> None:
    for route in (PUBLIC, orders(), orders(timeout=3.0, trace_sampling=0.5)):
        _, exchange = Line(*BASE, route).ask(token=ALICE)
        assert isinstance(exchange.plan, Plan) and exchange.plan.action is None
    _, exchange = Line(*BASE, orders(max_body_bytes=10)).ask(token=ALICE)
    assert isinstance(exchange.plan, Plan) and exchange.plan.action is not None
