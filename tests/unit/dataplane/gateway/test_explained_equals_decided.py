"""Whatever happened before, an explanation states what the gateway then decides, and changes nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.resources import (
    Circuit,
    Instance,
    Limit,
    LimitKey,
    LoadBalancer,
    Route,
    Service,
    User,
)
from dataplane.gateway.refusals import respond
from dataplane.proxy.exchange import Exchange, Result
from tests.unit.dataplane.gateway.explaining import explained
from tests.unit.dataplane.gateway.line import SCOPE, VERIFIED_BY, Line, token

CIRCUIT = Circuit(failure_threshold=2, min_throughput=2, recovery_timeout=3.0, half_open_timeout=2.0)
LIMITS = (
    Limit("by-address", 1, 3, LimitKey.ADDRESS),
    Limit("by-subject", 0.5, 2, LimitKey.SUBJECT, cost=2),
    Limit("bound", 0, 0, LimitKey.ADDRESS, max_concurrent=2),
    Limit("shadow", 1, 1, LimitKey.ROUTE, enforced=50),
)
ROUTES = (
    UnlinkedRoute(Route("orders", "orders", prefix="/orders", scopes=SCOPE), ("by-address", "by-subject")),
    UnlinkedRoute(
        Route("open", "orders", prefix="/open", public=True, max_body_bytes=10), ("bound", "shadow")
    ),
    UnlinkedRoute(
        Route("writes", "orders", path="/orders/new", methods=frozenset({"POST"}), public=True),
        ("by-address",),
    ),
    UnlinkedRoute(Route("on-host", "lonely", prefix="/", hosts=("*.b.example",), public=True)),
)
TOKENS = (
    "",
    "nonsense",
    token(),
    token("bob"),
    token("mallory"),
    token(scopes="other"),
    token(lifetime=-60),
)
REQUESTS = st.fixed_dictionaries(
    {
        "path": st.sampled_from(
            ["/orders/1", "/orders/new", "/open", "/open/x", "/none", "/ordersx", "/%6Frders/1"]
        ),
        "method": st.sampled_from([b"GET", b"POST", b"OPTIONS"]),
        "host": st.sampled_from([b"a.example", b"x.b.example", b"b.example"]),
        "token": st.sampled_from(TOKENS),
        "address": st.sampled_from(["203.0.113.9", "203.0.113.10", "2001:db8::1"]),
        "length": st.sampled_from([0, 5, 50]),
    }
)
STEPS = st.lists(
    st.tuples(
        REQUESTS,
        st.sampled_from([0.0, 0.1, 1.0, 2.5]),
        st.sampled_from(["answered", "failed", "abandoned", "open"]),
        st.sampled_from([(), ("orders/1",), ("orders/1", "orders/2")]),
    ),
    max_size=25,
)


def make_line(kind: LoadBalancer) -> Line:
    instances = [
        Instance("orders", str(number), "127.0.0.1", 80 + number, weight=number) for number in (1, 2, 3)
    ]
    drained = Instance("orders", "4", "127.0.0.1", 84, draining=True)
    service = Service("orders", load_balancer=kind, circuit=CIRCUIT, max_in_flight=3)
    users = User("alice", SCOPE), User("bob", SCOPE, disabled=True)
    return Line(service, Service("lonely"), *instances, drained, *users, VERIFIED_BY, *LIMITS, *ROUTES)


def decided(refusal: object, exchange: Exchange) -> dict[str, Any]:
    """What the explanation must have stated."""
    plan = exchange.plan
    found: dict[str, Any] = {
        "status": 0,
        "decision": exchange.decision,
        "reason": "",
        "instance": exchange.endpoint.id if exchange.endpoint is not None else "",
        "route": plan.route_name if plan is not None else "",
    }
    if refusal is not None:
        reply = respond(refusal)
        found.update(status=reply.status, decision=reply.decision, reason=reply.reason)
    return found


def _kept(counter: Counter) -> dict[str, float | None]:
    return {key: counter._state(key) for key in counter.keys()} if isinstance(counter, Buckets) else {}  # noqa: SIM118


def state(line: Line, now: float) -> object:
    """What a request may change, as far as it can be looked at without changing it."""
    gateway = line.gateway
    limiter = gateway.limiter
    return (
        {name: _kept(counter) for name, counter in limiter._counters.items()},
        {name: dict(each._under_way) for name, each in limiter._concurrent.items()},
        dict(limiter.refusals),
        {
            name: (b._state, b._failures, b._rejected, len(b._pending))
            for name, b in gateway.breakers._breakers.items()
        },
        [gateway.backends.get(name).balancer.leave() for name in ("orders", "lonely")],
        [endpoint.in_flight for endpoint in gateway.backends.get("orders").endpoints],
        gateway.backends.ejected(),
        len(gateway._authenticator._young),
    )


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(LoadBalancer), steps=STEPS)
def test_explanations_state_the_decision(kind: LoadBalancer, steps: list[Any]) -> None:
    line, now, under_way = make_line(kind), 100.0, []
    for asked, pause, outcome, unhealthy in steps:
        now += pause
        line.gateway.set_health(frozenset(unhealthy))
        asked = dict(asked)
        path, length = asked.pop("path"), asked.pop("length")
        fields = [(b"Content-Length", str(length).encode())] if length else []
        before = state(line, now)
        told = explained(line, path, *fields, **asked, now=now)
        assert state(line, now) == before
        refusal, exchange = line.ask(path, *fields, **asked, now=now)
        expected = decided(refusal, exchange)
        assert {name: getattr(told, name) for name in expected} == expected
        if outcome == "open" and refusal is None:
            under_way.append(exchange)
            continue
        exchange.status = 200 if refusal is None else expected["status"]
        result = {"failed": Result.FAILED, "abandoned": Result.ABANDONED}.get(outcome, Result.ANSWERED)
        line.end(exchange, result, now)
        while len(under_way) > 3:
            line.end(under_way.pop(0), Result.ANSWERED, now)


@settings(max_examples=150, deadline=None)
@given(asked=REQUESTS)
def test_the_match_is_a_candidate(asked: dict[str, Any]) -> None:
    router = make_line(LoadBalancer.ROUND_ROBIN).gateway.table.router
    host, path, method = asked["host"].decode(), asked["path"], asked["method"].decode()
    candidates = [route for _, route in router.candidates(host, path)]
    found = [route for route in candidates if not route.methods or method in route.methods]
    matched = router.match(host, path, method)
    assert matched in found if found else not isinstance(matched, Route)
