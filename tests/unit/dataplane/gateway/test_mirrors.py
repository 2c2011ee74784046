"""Mirrors without sockets: which requests are copied, what stands against it, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.gateway.mirrors import MOST_UNDER_WAY
from dataplane.gateway.policy.circuit import Open, Outcome
from dataplane.gateway.policy.forwarding import Forwarding, Mirror, Respond, Share
from dataplane.gateway.policy.resources import Circuit, Instance, Service, Timeouts
from dataplane.proxy import exchange as engine
from dataplane.proxy.exchange import Copying, Exchange, Result
from dataplane.proxy.pool import Endpoint
from tests.unit.dataplane.gateway.explaining import explained, step
from tests.unit.dataplane.gateway.line import ONE, Line, circuit_of, orders

COPIED = Instance("copied", "c", "127.0.0.1", 91)


class Copies(Copying):
    """Remembers what is to be sent."""

    def __init__(self) -> None:
        self.most_body = 10
        self.sent: list[SimpleNamespace] = []

    def send(
        self,
        original: Exchange,
        body: list[bytes],
        plan: engine.Forwarding,
        endpoint: Endpoint,
        done: Callable[[Result], None],
    ) -> None:
        self.sent.append(SimpleNamespace(body=body, plan=plan, endpoint=endpoint, done=done))


class Stage:
    """A line with a route that has mirrors."""

    def __init__(
        self, *mirrors: Mirror, copied: Service | None = None, more: Any = (COPIED,), **rest: Any
    ) -> None:
        forwarding = Forwarding(mirrors=mirrors or (Mirror("copied"),), **rest)
        route = orders(public=True, scopes=frozenset(), forwarding=forwarding, max_body_bytes=1000)
        others = {mirror.service for mirror in forwarding.mirrors} | {"copied"}
        services = [copied or Service("copied"), *(Service(name) for name in others - {"copied", "orders"})]
        self.line = Line(Service("orders"), ONE, *services, *more, route)
        self.copies = Copies()
        self.line.gateway.equip(self.copies)

    def ask(self, *fields: tuple[bytes, bytes], body: bytes = b"", whole: bool = True) -> Exchange:
        """A request that is forwarded, and sent whole."""
        if body:
            fields = (*fields, (b"Content-Length", b"%d" % len(body)))
        refusal, exchange = self.line.ask("/orders/1", *fields, method=b"POST" if body else b"GET")
        assert refusal is None
        exchange.body, exchange.received, exchange.complete = [body] if body else [], len(body), whole
        if whole and exchange.timed:
            self.line.gateway.sent(exchange, 0.0)
        return exchange

    def counted(self) -> dict[str, Any]:
        return {name: count for name, count in self.line.gateway.mirrors.report().items() if count}


def test_the_copy_of_a_request() -> None:
    stage = Stage(host="inner.example")
    exchange = stage.ask(body=b"hello")
    (copy,) = stage.copies.sent
    assert (copy.body, copy.endpoint.id, copy.endpoint.in_flight) == ([b"hello"], "c", 1)
    assert (copy.plan.service_name, copy.plan.route_name) == ("copied", "orders")
    # Host as for the route's own service, without a suffix.
    assert copy.plan.authority == b"inner.example"
    assert exchange.endpoint is not None and exchange.endpoint.id == "1"
    copy.done(Result.ANSWERED)
    assert copy.endpoint.in_flight == 0
    assert stage.counted() == {"mirrored": {"copied": 1}}


@pytest.mark.parametrize(
    ("percentage", "copies"), [(0.0, 0), (0.5, 5), (10.0, 100), (33.3, 333), (50.0, 500), (100.0, 1000)]
)
def test_percentages_are_even(percentage: float, copies: int) -> None:
    """Gateway API, HTTPRequestMirrorFilter.percent: 0 to 100, 100 by default."""
    stage, sent = Stage(Mirror("copied", percentage)), 0
    for _ in range(1000):
        stage.line.end(stage.ask())
        while stage.copies.sent:
            stage.copies.sent.pop().done(Result.ANSWERED)
            sent += 1
    assert abs(sent - copies) <= 1


def test_several_mirrors_get_their_own_shares() -> None:
    """Gateway API: HTTPRouteRequestMultipleMirrors."""
    other = Instance("other", "o", "127.0.0.1", 92)
    stage = Stage(Mirror("copied"), Mirror("other", 50.0), more=(COPIED, other))
    for _ in range(10):
        stage.ask(body=b"x")
    went = [copy.plan.service_name for copy in stage.copies.sent]
    assert (went.count("copied"), went.count("other")) == (10, 5)
    # No two of them take the same list of pieces.
    assert len({id(copy.body) for copy in stage.copies.sent}) == len(stage.copies.sent)


def test_a_request_is_copied_once_whatever_happens_to_it() -> None:
    stage = Stage()
    exchange = stage.ask()
    stage.line.gateway.sent(exchange, 0.0)
    stage.line.end(exchange)
    assert len(stage.copies.sent) == 1 and stage.counted() == {"mirrored": {"copied": 1}}


def test_a_streamed_body_is_copied_from_what_was_kept() -> None:
    stage = Stage()
    exchange = stage.ask(body=b"hello", whole=False)
    assert exchange.replay == [] and not stage.copies.sent
    exchange.replay, exchange.body = [b"he", b"l"], [b"lo"]
    exchange.complete = True
    stage.line.gateway.sent(exchange, 0.0)
    assert b"".join(stage.copies.sent[0].body) == b"hello"


def _long(stage: Stage) -> None:
    stage.ask(body=b"01234567890")


def _chunked(stage: Stage) -> None:
    exchange = stage.ask((b"Transfer-Encoding", b"chunked"), whole=False)
    # The engine has stopped keeping it.
    exchange.replay, exchange.received, exchange.complete = None, 11, True
    stage.line.gateway.sent(exchange, 0.0)


def _at_once(stage: Stage) -> None:
    exchange = stage.ask((b"Transfer-Encoding", b"chunked"), whole=False)
    exchange.body, exchange.received, exchange.complete = [b"01234567890"], 11, True
    stage.line.gateway.sent(exchange, 0.0)


def _left(stage: Stage) -> None:
    stage.line.end(stage.ask(body=b"hello", whole=False), Result.ABANDONED)


def _sick(stage: Stage) -> None:
    stage.line.gateway.set_health(frozenset({"copied/c"}))
    stage.ask()


def _open(stage: Stage) -> None:
    breakers = stage.line.gateway.breakers
    while breakers.closed("copied"):
        trial = breakers.admit("copied", 0.0)
        assert not isinstance(trial, Open)
        trial.settle(Outcome.FAILURE, 0.0)
    stage.ask()


def _upgrade(stage: Stage) -> None:
    exchange = stage.ask(whole=False)
    assert exchange.request is not None
    exchange.request.upgrade = ("websocket",)
    stage.line.gateway.sent(exchange, 0.0)


OBSTACLES: list[tuple[Callable[[Stage], None], str]] = [
    (_long, "body"),
    (_chunked, "body"),
    (_at_once, "body"),
    (_left, "unsent"),
    (_sick, "unavailable"),
    (_open, "circuit"),
    (_upgrade, "upgrade"),
]


@pytest.mark.parametrize(("happens", "reason"), OBSTACLES)
def test_what_is_not_copied_is_counted(happens: Callable[[Stage], None], reason: str) -> None:
    stage = Stage()
    happens(stage)
    assert not stage.copies.sent
    assert stage.counted() == {"mirror_dropped": [("copied", reason, 1)]}
    assert not any(stage.line.gateway.mirrors._under_way.values())


def test_a_service_without_instances_gets_no_copies() -> None:
    stage = Stage(more=())
    stage.ask()
    assert stage.counted() == {"mirror_dropped": [("copied", "unavailable", 1)]}


def test_copies_under_way_are_bounded() -> None:
    stage = Stage()
    for _ in range(MOST_UNDER_WAY + 3):
        stage.ask()
    assert len(stage.copies.sent) == MOST_UNDER_WAY
    stage.copies.sent[0].done(Result.FAILED)
    stage.ask()
    assert stage.counted() == {
        "mirrored": {"copied": MOST_UNDER_WAY + 1},
        "mirror_failed": {"copied": 1},
        "mirror_dropped": [("copied", "busy", 3)],
    }


def test_the_service_s_own_bound_holds() -> None:
    stage = Stage(copied=Service("copied", max_in_flight=2))
    for _ in range(3):
        stage.ask()
    assert len(stage.copies.sent) == 2
    stage.copies.sent[0].done(Result.ANSWERED)
    stage.ask()
    assert stage.counted() == {"mirrored": {"copied": 3}, "mirror_dropped": [("copied", "busy", 1)]}


def test_copies_count_in_no_breaker_and_eject_nobody() -> None:
    stage = Stage(copied=Service("copied", circuit=Circuit(failure_threshold=1, min_throughput=1)))
    for _ in range(50):
        stage.line.end(stage.ask())
        stage.copies.sent[-1].done(Result.FAILED)
    assert {report.state for report in stage.line.gateway.breakers.report(0.0)} == {"closed"}
    assert not stage.line.gateway.backends.ejected()
    assert stage.line.gateway.breakers.requests("copied") == 0


def test_what_goes_wrong_with_a_copy_is_not_the_request_s_concern(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Copying):
        most_body = 10

        def send(self, *_: object) -> None:
            raise RuntimeError("broken")

    stage = Stage()
    stage.line.gateway.equip(Broken())
    exchange = stage.ask()
    stage.line.end(exchange)
    assert "cannot be mirrored" in caplog.text and circuit_report(stage) == "closed"
    assert stage.counted() == {"mirror_dropped": [("copied", "error", 1)]}
    assert not any(stage.line.gateway.mirrors._under_way.values())


def circuit_report(stage: Stage) -> str:
    reports = {report.service: report.state for report in stage.line.gateway.breakers.report(0.0)}
    return reports["orders"]


def test_the_times_are_those_of_the_mirror_s_service() -> None:
    stage = Stage(copied=Service("copied", timeouts=Timeouts(1.0, 2.0, 3.0, 4.0)))
    stage.ask()
    plan = stage.copies.sent[0].plan
    assert (plan.connect_timeout, plan.response_timeout, plan.idle_timeout, plan.total_timeout) == (
        1,
        2,
        3,
        4,
    )


def test_shares_of_services_are_mirrored_and_answers_of_the_gateway_are_not() -> None:
    shares = Stage(shares=(Share("orders", 1),))
    shares.ask()
    assert len(shares.copies.sent) == 1
    responding = Stage(respond=Respond(200, b"", "text/plain"))
    refusal, exchange = responding.line.ask()
    assert refusal is not None
    responding.line.end(exchange)
    assert not responding.copies.sent and not responding.counted()


def test_routes_without_mirrors_have_nothing_of_it() -> None:
    line = Line(Service("orders"), ONE, orders(public=True, scopes=frozenset()))
    line.gateway.equip(Copies())
    refusal, exchange = line.ask()
    assert refusal is None and not exchange.timed and exchange.held is None and exchange.replay is None
    assert cast(Any, exchange.plan).action is None
    assert circuit_of(line) == "closed"


def test_an_explanation_copies_nothing() -> None:
    stage = Stage(Mirror("copied", 25.0))
    told = step(explained(stage.line), "mirrors")
    assert told.text == "Copies go to copied (25 %)."
    assert told.details["mirrors"] == [
        {"service": "copied", "percentage": 25.0, "candidates": 1, "breaker": "closed"}
    ]
    assert not stage.copies.sent and not stage.counted()
    plain = Line(Service("orders"), ONE, orders(public=True, scopes=frozenset()))
    assert step(explained(plain), "mirrors").outcome == "skipped"
