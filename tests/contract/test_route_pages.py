"""The example of each guide about routes, through both planes: document, wire, table, decision."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.model.document import read_document
from controlplane.model.stored import Stamped
from controlplane.rpc.wire.resource_messages import resource as encode
from dataplane.config.decode import decode
from dataplane.config.table import Item
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.resources import Instance, User
from dataplane.gateway.refusals import respond
from dataplane.proxy.exchange import Copying, Exchange, Forwarding, Result
from dataplane.proxy.http1.edits import edited_request
from tests.support.pages import DOCS, blocks
from tests.unit.dataplane.gateway.line import VERIFIED_BY, Line, sent, token


def example(page: Path, number: int = 0) -> Any:
    """A YAML block of a page, read."""
    return yaml.safe_load([block for block in blocks(page) if block.language == "yaml"][number].text)


def items(document: Any) -> list[Item]:
    """What data planes make of a document, with an instance of each service."""
    read = read_document(document)
    assert read.problems == ()
    found: list[Item] = []
    for position, one in enumerate(read.declared, 1):
        assert one.resource is not None
        if type(one.resource).DATA_PLANES:
            found.append(decode(encode(Stamped(one.resource, position, created=position))))
        if one.kind == "service":
            found.append(Instance(one.name, "1", "127.0.0.1", 80 + position))
    return found


def answer(line: Line, path: str, *fields: tuple[bytes, bytes], **request: Any) -> tuple[str, Exchange]:
    """The route of a request, or the status of the refusal."""
    refusal, exchange = line.ask(path, *fields, **request)
    if refusal is not None:
        return str(respond(refusal).status), exchange
    assert exchange.plan is not None
    return exchange.plan.route_name, exchange


MATCHED: list[tuple[str, str, dict[bytes, bytes], str]] = [
    # method and host, target, header fields, route: the table of the page
    ("GET", "/shop/cart", {}, "shop"),
    ("GET", "/shopping", {}, "404"),
    ("GET", "/shop/cart", {b"X-Version": b"2"}, "shop-next"),
    ("GET", "/shop/cart", {b"x-version": b"22"}, "shop"),
    ("GET", "/shop?beta", {}, "shop-beta"),
    ("GET", "/shop?beta=1", {b"X-Version": b"2"}, "shop-next"),
    ("HEAD", "/report", {}, "report"),
    ("POST", "/report", {}, "405"),
    ("GET www.example.org", "/archive/1999", {}, "years"),
    ("GET www.example.org", "/archive/1999/x", {}, "404"),
    ("GET", "/archive/1999", {}, "404"),
]


@pytest.mark.parametrize(("sender", "target", "fields", "route"), MATCHED)
def test_the_guide_to_matching(sender: str, target: str, fields: dict[bytes, bytes], route: str) -> None:
    line = Line(*items(example(DOCS / "how-to" / "routing.md")))
    method, _, host = sender.partition(" ")
    request = {"method": method.encode(), "host": host.encode() or b"any.example"}
    assert answer(line, target, *fields.items(), **request)[0] == route


def test_the_guide_to_weights() -> None:
    line = Line(*items(example(DOCS / "how-to" / "canary.md")))
    went: Counter[str] = Counter()
    for number in range(500):
        _, exchange = line.ask("/orders", (b"Cookie", b"orders-side=%d" % number))
        assert exchange.plan is not None
        went[exchange.plan.service_name] += 1
    assert went.keys() == {"orders", "orders-next"} and 25 < went["orders-next"] < 75
    _, first = line.ask("/orders")
    assert first.response_fields[0][1].startswith("orders-side=")


ANSWERS = [
    # target, status, and location, content or target that is sent: the table of the page
    ("/old/x?y=1", 301, "http://a.example/new/x?y=1"),
    ("/login", 302, "https://www.example.org/login"),
    ("/closed/today", 503, "Back on Monday\n"),
    ("/shop/cart", 0, "/cart"),
    ("/api/orders", 0, "/v2/api/orders"),
    ("/app/any/page?x", 0, "/index.html?x"),
    ("/items/17/parts", 0, "/item-17/parts"),
]


@pytest.mark.parametrize(("target", "status", "expected"), ANSWERS)
def test_the_guide_to_answers(target: str, status: int, expected: str) -> None:
    refusal, exchange = Line(*items(example(DOCS / "how-to" / "answers.md"))).ask(target)
    if refusal is None:
        assert (status, sent(exchange).decode()) == (0, expected)
        return
    reply = respond(refusal)
    assert reply.status == status
    assert dict(reply.fields).get("location", reply.body.decode()) == expected


def test_the_guide_to_edits() -> None:
    made = items(example(DOCS / "how-to" / "headers.md"))
    line = Line(*made, User("alice", frozenset({"shop:read"})), VERIFIED_BY)
    sent_fields = (b"X-Real-IP", b"6.6.6.6"), (b"X-Tenant", b"other"), (b"X-Debug", b"1"), (b"Accept", b"*/*")
    refusal, exchange = line.ask("/shop", *sent_fields, token=token(scopes="shop:read", tenant="acme"))
    assert refusal is None and exchange.plan is not None and exchange.request is not None
    assert exchange.plan.request_edits is not None
    head = b"".join(edited_request(exchange.plan.request_edits, exchange, exchange.request))
    assert sorted(head.split(b"\r\n")[1:]) == [
        b"Accept: */*",
        b"x-forwarded-by: shop",
        b"x-gateway: headgate",
        b"x-real-ip: 203.0.113.9",
        b"x-tenant: acme",
    ]


PREFLIGHTS = [
    ("https://www.example.org", 204),
    ("https://a.b.preview.example.org", 204),
    ("https://pr-12.example.net", 204),
    ("https://evil.example", 403),
]


@pytest.mark.parametrize(("origin", "status"), PREFLIGHTS)
def test_the_guide_to_cors(origin: str, status: int) -> None:
    line = Line(*items(example(DOCS / "how-to" / "cors.md")), VERIFIED_BY)
    asked = (
        (b"Origin", origin.encode()),
        (b"Access-Control-Request-Method", b"PUT"),
        (b"Access-Control-Request-Headers", b"authorization"),
    )
    refusal, exchange = line.ask("/shop", *asked, method=b"OPTIONS")
    reply = line.gateway.refuse(exchange, refusal)
    assert reply.status == status
    if status == 204:
        fields = dict(reply.fields)
        assert fields["access-control-allow-origin"] == origin
        assert fields["access-control-allow-methods"] == "GET, PUT"
        assert fields["access-control-allow-headers"] == "authorization, content-type"
        assert fields["access-control-max-age"] == "600"


@pytest.mark.parametrize(("address", "status"), [("10.1.2.3", 401), ("10.0.0.13", 403), ("192.0.2.1", 403)])
def test_the_guide_to_addresses(address: str, status: int) -> None:
    line = Line(*items(example(DOCS / "how-to" / "addresses.md")), VERIFIED_BY)
    refusal, _ = line.ask("/admin", address=address)
    assert respond(refusal).status == status


TRIES = [
    # method, target; seconds in all, for a try and for the response's head; retries, conditions, methods sent twice
    (b"GET", "/shop-api", (10, 3, 3), 2, {"connect", "reset", "timeout", "503"}, {"GET", "PUT"}),
    (b"GET", "/shop-events", (0, 0, 15), 1, {"connect"}, set()),
    (b"POST", "/shop-orders", (0, 5, 5), 1, {"503"}, {"POST"}),
]


@pytest.mark.parametrize(("method", "target", "times", "attempts", "on", "methods"), TRIES)
def test_the_guide_to_timeouts(
    method: bytes, target: str, times: tuple[float, ...], attempts: int, on: set[str], methods: set[str]
) -> None:
    line = Line(*items(example(DOCS / "how-to" / "timeouts.md")))
    refusal, exchange = line.ask(target, method=method)
    assert refusal is None
    plan = exchange.plan
    assert isinstance(plan, Plan)
    assert (plan.total_timeout, plan.try_timeout, plan.response_timeout) == times
    assert (plan.retries.attempts, plan.retries.on, frozenset(methods) - plan.replayed) == (
        attempts,
        frozenset(on),
        frozenset(),
    )
    assert plan.connect_timeout == 1 and (plan.retries.backoff == 0.1) is (target == "/shop-api")


CODINGS = [
    ("gzip, br;q=0.9", "text/html", "gzip"),
    ("gzip, br, zstd", "application/json; charset=utf-8", "zstd"),
    ("gzip", "image/png", ""),
    ("identity", "text/css", ""),
]


@pytest.mark.parametrize(("accept", "kind", "coding"), CODINGS)
def test_the_guide_to_compression(accept: str, kind: str, coding: str) -> None:
    line = Line(
        *items(example(DOCS / "how-to" / "compression.md")),
        User("alice", frozenset({"shop:read"})),
        VERIFIED_BY,
    )
    refusal, exchange = line.ask("/shop", token=token(scopes="shop:read"))
    assert refusal is None and exchange.plan is not None and exchange.plan.encoding is not None
    rules = exchange.plan.encoding
    assert (rules.choose(accept) if rules.covers(kind.encode()) else "") == coding
    assert rules.min_bytes == 1024


def test_the_guide_to_mirrors() -> None:
    line = Line(*items(example(DOCS / "how-to" / "mirror.md")))
    went: Counter[str] = Counter()

    class Copies(Copying):
        most_body = 10

        def send(
            self, original: Exchange, body: object, plan: Forwarding, endpoint: object, done: object
        ) -> None:
            went[plan.service_name] += 1
            assert callable(done)
            done(Result.ANSWERED)

    line.gateway.equip(Copies())
    for _ in range(100):
        refusal, exchange = line.ask("/catalog/1")
        assert refusal is None and exchange.plan is not None and exchange.plan.service_name == "catalog"
        exchange.complete = True
        if exchange.timed:
            line.gateway.sent(exchange, 0.0)
        line.end(exchange)
    assert went["recorder"] == 100 and 9 <= went["catalog-next"] <= 11


@pytest.mark.parametrize("number", [0, 1])
def test_the_guide_to_authorization(number: int) -> None:
    """On the wire: tests/integration/http/test_authorizing.py."""
    line = Line(*items(example(DOCS / "how-to" / "authorization.md", number)))
    # No way to instances is set up here: the service gives no answer.
    refusal, exchange = line.ask("/shop", (b"X-User", b"mallory"))
    reply = respond(refusal)
    assert (reply.status, reply.decision) == (503, "authorization_failed")
    rules = exchange.plan.route.forwarding.authorization  # type: ignore[union-attr]
    assert rules.service == "auth" and rules.timeout == 1.0
    assert (rules.path, rules.cache_key) == (("/verify", ()), ("/", ("authorization",)))[number]
