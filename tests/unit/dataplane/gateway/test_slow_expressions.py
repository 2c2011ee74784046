"""No expression makes a request slow: programs and texts are bounded, and what is not looked at is refused.

The worst expressions come from https://swtch.com/~rsc/regexp/regexp1.html and from measurements of RE2 whose states do
not fit its cache. The bound is a millisecond a match; the tests allow ten times as much, for slow machines.
"""

from __future__ import annotations

from time import thread_time
from typing import Any

import pytest

from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.expressions import whole
from dataplane.gateway.policy.forwarding import MOST_PATH, Forwarding, Substitution
from dataplane.gateway.policy.resources import Route, Service
from dataplane.gateway.refusals import respond
from dataplane.proxy.messages import BadRequest
from headgate_api.expressions import ALWAYS, LONGEST, MOST_INSTRUCTIONS, TooLong, compiled, longest
from tests.unit.dataplane.gateway.explaining import explained, step, stopped
from tests.unit.dataplane.gateway.line import ONE, Line, sent

WITHIN = 0.01
SLOW = [
    r"(?:.?){100}x",
    r".*(?:.?){50}x",
    r".*a.{100}x",
    r".*a.{12}x",
    r"(?:[ab]*a[ab]{14}){2}x",
    r"(?:.*a.{5}){20}x",
    r"(?:a?){100}a{100}",
]
TEXTS = ["a" * 9000, "ab" * 4500, ("aab" + "b" * 11) * 650]
PUBLIC = UnlinkedRoute(Route("rest", "orders", prefix="/", public=True))


def fastest(work: Any) -> float:
    """The best of three: others run beside the test."""
    times = []
    for _ in range(3):
        begun = thread_time()
        work()
        times.append(thread_time() - begun)
    return min(times)


@pytest.mark.parametrize("pattern", SLOW)
def test_a_match_is_bounded(pattern: str) -> None:
    expression = compiled(pattern)
    for text in TEXTS:
        most = text[: longest(expression)]
        assert fastest(lambda most=most: whole(expression, most, 414)) < WITHIN
        with pytest.raises(TooLong):
            whole(expression, text, 414)


def test_large_programs_are_refused() -> None:
    with pytest.raises(ValueError, match=f"more than {MOST_INSTRUCTIONS}"):
        compiled(r"(?:.?){900}x")
    assert longest(compiled("/v[0-9]+/orders/[^/]+")) == LONGEST
    large = compiled(r"(?:.?){110}x")
    assert ALWAYS <= longest(large) < 600


@pytest.mark.parametrize(
    "pattern", [r"([ab]*a[ab]{14}x)?a", r"(?:.*a.{20}x)?b", r"a(?:.*x)?", r"a|b", r"a(?:.{0,90}x)?"]
)
def test_replacements_are_bounded(pattern: str) -> None:
    """Each search may read the whole rest of the path: without a bound, 8 KB took seconds."""
    wanted = Substitution(pattern, "y", compiled(pattern))

    def apply(text: str) -> None:
        try:
            wanted.apply(f"/{text}")
        except TooLong:
            return

    for text in TEXTS:
        for length in (100, 500, 1000, 8000):
            assert fastest(lambda cut=text[:length]: apply(cut)) < WITHIN


def test_ordinary_replacements_are_not_bounded() -> None:
    path = "/v1/" + "/".join(["segment"] * 50)
    assert Substitution("^/v1/(.*)", r"/v2/\1", compiled("^/v1/(.*)")).apply(path) == path.replace("v1", "v2")
    assert Substitution("segment", "s", compiled("segment")).apply(path).count("/s") == 50
    long = "/v1/" + "x" * (LONGEST - 5)
    assert Substitution("^/v1/", "/", compiled("^/v1/")).apply(long) == long.removeprefix("/v1")


@pytest.mark.parametrize(
    ("pattern", "text"), [("a", "b" * 1024), (".*", r"\0" * 9), ("", "x" * 1000), ("b*", "x" * 1000)]
)
def test_a_path_does_not_grow_without_end(pattern: str, text: str) -> None:
    """An empty pattern matches between all characters. Control planes refuse it; a data plane is safe without that."""
    forwarding = Forwarding(substitution=Substitution(pattern, text, compiled(pattern)))
    route = UnlinkedRoute(Route("r", "orders", prefix="/", public=True, forwarding=forwarding))
    line = Line(Service("orders"), ONE, route)
    refusal, exchange = line.ask("/" + "a" * 2000)
    assert isinstance(refusal, BadRequest) and exchange.endpoint is None
    reply = respond(refusal)
    assert (reply.status, reply.reason) == (400, "path: too long for a regular expression of a route")
    told = explained(line, "/" + "a" * 2000)
    assert (stopped(told), told.status) == ("rewrite", 400)
    refusal, exchange = line.ask("/x")
    assert refusal is None and len(sent(exchange)) <= MOST_PATH


def test_a_text_that_is_not_looked_at_gets_past_nothing() -> None:
    """It does not count as "no match": another route might ask for less."""
    guarded = Route("guarded", "orders", pattern="/a/.*x", expression=compiled("/a/.*x"))
    header = Condition("x-a", regex="a.*", expression=compiled("a.*"))
    query = Condition("q", regex="a.*", expression=compiled("a.*"))
    by_header = Route("header", "orders", prefix="/h", conditions=Conditions((header,)))
    by_query = Route("query", "orders", prefix="/q", conditions=Conditions((), (query,)))
    line = Line(Service("orders"), ONE, PUBLIC, *map(UnlinkedRoute, (guarded, by_header, by_query)))
    long = "a" * (LONGEST + 1)
    for path, field, status in (
        (f"/a/{long}x", b"", 414),
        ("/h", long.encode(), 431),
        (f"/q?q={long}", b"", 414),
        (f"/other/{long}", b"", 0),
        ("/other", long.encode(), 0),
    ):
        refusal, exchange = line.ask(path, (b"X-A", field))
        assert (respond(refusal).status if refusal is not None else 0) == status
        told = explained(line, path, (b"X-A", field))
        assert told.status == status and (stopped(told) == "route") is bool(status)
        assert step(told, "request").outcome == "passed"
    assert exchange.endpoint is not None


def test_origins_are_not_allowed_when_they_are_too_long() -> None:
    cors = Cors(patterns=("https://a+[.]example",), expressions=(compiled("https://a+[.]example"),))
    assert cors.allows("https://aa.example")
    assert not cors.allows(f"https://{'a' * LONGEST}.example")
