"""The listener that gets a request, by host: the rows of the Gateway API's HTTPRouteListenerHostnameMatching, and more.

Source: Gateway API v1.6, `Listener.hostname` ("the most specific match takes precedence") and GEP-3567 (listeners are
isolated).
"""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.resources import Listener, Route
from dataplane.gateway.policy.router import NOT_FOUND, Router
from dataplane.gateway.policy.sites import NO_ROUTES, Sites

NAMES = {
    "bar": ("bar.com",),
    "wildcard": ("*.bar.com",),
    "deeper": ("*.foo.bar.com",),
    "foo": ("foo.bar.com", "foo.example"),
}


def router(name: str) -> Router:
    return Router([Route(name, "s", path=f"/{name}", public=True)])


def sites(**hostnames: tuple[str, ...]) -> Sites:
    return Sites((Listener(name, 80, hosts), router(name)) for name, hosts in hostnames.items())


def chosen(found: Router, names: list[str]) -> str:
    """The listener whose router this is."""
    return next((name for name in names if found.match("", f"/{name}", "GET") is not NOT_FOUND), "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("bar.com", "bar"),
        ("BAR.com", "bar"),
        ("foo.bar.com", "foo"),
        ("foo.example", "foo"),
        ("baz.bar.com", "wildcard"),
        ("a.baz.bar.com", "wildcard"),
        ("a.foo.bar.com", "deeper"),
        ("a.b.foo.bar.com", "deeper"),
        ("boo.example", ""),
        ("com", ""),
        (".bar.com", ""),
        ("", ""),
    ],
)
def test_the_most_specific_hostname_gets_it(host: str, expected: str) -> None:
    assert chosen(sites(**NAMES).find(host), [*NAMES]) == expected


@pytest.mark.parametrize("host", ["boo.example", "", "com"])
def test_a_listener_for_every_host_gets_the_rest(host: str) -> None:
    assert chosen(sites(**NAMES, rest=()).find(host), [*NAMES, "rest"]) == "rest"


def test_what_no_listener_serves_has_no_routes() -> None:
    assert sites(bar=("bar.com",)).find("foo.com") is NO_ROUTES


def test_a_listener_without_a_match_does_not_fall_through() -> None:
    found = sites(bar=("bar.com",), rest=()).find("bar.com")
    assert found.match("bar.com", "/rest", "GET") is NOT_FOUND
