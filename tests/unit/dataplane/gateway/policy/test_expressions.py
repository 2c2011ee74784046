"""The beginning that spares a match: nothing that an expression matches may lack it."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.expressions import certainly, literal
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import Router
from headgate_api.expressions import compiled


@pytest.mark.parametrize(
    ("text", "beginning", "matched"),
    [
        ("/orders/[0-9]+", "/orders/", "/orders/1"),
        ("^/orders/.*$", "/orders/", "/orders/"),
        ("/a*", "/", "/"),
        ("/ab?/c", "/a", "/a/c"),
        ("/ab+", "/a", "/abb"),
        ("/ab{0,2}c", "/a", "/ac"),
        ("/a|/b", "", "/b"),
        ("/a(b|c)", "/a", "/ac"),
        ("/a(b)|/c", "", "/c"),
        ("/img/.*[.](jpg|png)", "", "/img/x.png"),
        (r"/a\.b", "/a", "/a.b"),
        (r"/a\Q|\E", "", "/a|"),
        ("(?i)/A", "", "/a"),
        ("/a(?i)b", "/a", "/aB"),
        ("(/a)?/b", "", "/b"),
        (".*", "", ""),
        ("", "", ""),
        ("^^/a", "", "/a"),
        ("/caf%C3%A9/.*", "/caf%C3%A9/", "/caf%C3%A9/x"),
    ],
)
def test_a_beginning(text: str, beginning: str, matched: str) -> None:
    assert literal(text) == beginning
    assert certainly(compiled(text), matched) and matched.startswith(beginning)


def test_beginnings_follow_the_routes() -> None:
    def route(name: str, pattern: str) -> Route:
        return Route(name, name, pattern=pattern, expression=compiled(pattern))

    first, second, third = route("a", "/a/.*"), route("b", "/b/.*long"), route("c", "/c/.*")
    router = Router([first, second]).changed([first], [third])
    assert router.match("", "/b/long", "GET") is second
    assert router.match("", "/c/x", "GET") is third
    assert type(router.match("", "/a/x", "GET")) is not Route
    again = router.changed([second], [route("b", "/d/.*")])
    assert type(again.match("", "/b/long", "GET")) is not Route
    assert type(again.match("", "/d/x", "GET")) is Route
