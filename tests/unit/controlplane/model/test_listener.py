"""Listeners as configuration: what is refused, and with which field."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.config import build
from controlplane.model.problems import InconsistentConfig, InvalidConfig
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Listener, Resource, parse
from controlplane.model.stored import encode, key_of
from controlplane.model.validate import Declared, check_references, clashes, overlaps
from controlplane.store import Entry

TLS: dict[str, Any] = {"protocol": "https", "certificates": ["shop"]}
WEB = {"name": "web", "port": 8080}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"port": None}, "port must be a whole number, not nothing"),
        ({"port": 0}, "port must be at least 1"),
        ({"port": 65_536}, "port must be at most 65535"),
        ({"protocol": "tcp"}, "protocol must be 'http' or 'https'"),
        ({"protocol": "https"}, "certificates must name at least one with protocol https"),
        ({"certificates": ["a"]}, "certificates needs protocol https"),
        ({"tls_min": "1.3"}, "tls_min needs protocol https"),
        (TLS | {"tls_min": "1.1"}, "tls_min must be '1.2' or '1.3'"),
        (TLS | {"tls_min": "1.3", "tls_max": "1.2"}, "tls_max must not be older than tls_min"),
        (
            TLS | {"client_certificate": "required"},
            "client_ca must be given together with client_certificate",
        ),
        (
            {"proxy_protocol_from": ["10.0.0.1/8"]},
            "proxy_protocol_from[0] must be a network like 10.0.0.0/8 or 2001:db8::/32, without host bits",
        ),
        (
            {"hostnames": ["a.org:80"]},
            "hostnames[0] must be a host name without port, or '*.' and the end of one",
        ),
        ({"hostnames": ["a.org", "a.org"]}, "hostnames 'a.org' is there twice"),
        ({"name": "default"}, "name 'default' is the listener of the data planes' settings (LISTEN)"),
        ({"address": "::1"}, "address unknown field"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfig) as raised:
        parse("listener", WEB | fields)
    assert [f"{one.field} {one.detail}" for one in raised.value.problems] == [problem]


def declared(*fields: dict[str, Any]) -> list[Declared]:
    return [
        Declared("listener", one["name"], f"listeners[{at}]", one, parse("listener", one))
        for at, one in enumerate(fields)
    ]


SHARING: list[tuple[list[dict[str, Any]], str]] = [
    ([{"port": 80}, {"port": 80}], "serves every host on port 80"),
    (
        [{"port": 80, "hostnames": ["a.org"]}, {"port": 80, "hostnames": ["b.org", "a.org"]}],
        "serves a.org on port 80",
    ),
    ([{"port": 80, "hostnames": ["a.org"]}, {"port": 80}], ""),
    ([{"port": 80, "hostnames": ["*.org"]}, {"port": 80, "hostnames": ["a.org"]}], ""),
    ([{"port": 80}, {"port": 81}], ""),
]


@pytest.mark.parametrize(("pair", "detail"), SHARING)
def test_two_on_one_port(pair: list[dict[str, Any]], detail: str) -> None:
    one, two = ({"name": name, **fields} for name, fields in zip(("one", "two"), pair, strict=True))
    expected = [f"listeners[1].hostnames: listener 'one' {detail}"] if detail else []
    assert list(map(str, clashes(ResourceIndex(), declared(one, two)))) == expected
    # One of them is stored.
    first = parse("listener", one)
    index = ResourceIndex({("listener", "one"): first})
    found = clashes(index, declared(two))
    assert list(map(str, found)) == [line.replace("[1]", "[0]") for line in expected]


def test_settings_of_the_port_are_those_of_all_its_listeners() -> None:
    one = {"name": "one", "port": 443, "hostnames": ["a.org"], **TLS, "tls_min": "1.3"}
    two = {"name": "two", "port": 443, "hostnames": ["b.org"], **TLS, "proxy_protocol_from": ["10.0.0.0/8"]}
    three = {"name": "three", "port": 443, "hostnames": ["c.org"]}
    must = "must be that of listener 'one', which has the same port 443"
    found = [str(one) for one in clashes(ResourceIndex(), declared(one, two))]
    assert found == [f"listeners[1].tls_min: {must}", f"listeners[1].proxy_protocol_from: {must}"]
    assert f"listeners[1].protocol: {must}" in map(str, clashes(ResourceIndex(), declared(one, three)))


def test_a_listener_replaces_itself() -> None:
    first = parse("listener", WEB)
    index = ResourceIndex({("listener", "web"): first})
    assert list(clashes(index, declared(WEB))) == []


def test_the_stored_configuration_is_checked_too() -> None:
    stored = [Listener(name="one", port=80), Listener(name="two", port=80), Listener(name="three", port=81)]
    with pytest.raises(InconsistentConfig) as raised:
        build(entries(*stored), 9)
    assert list(map(str, raised.value.problems)) == [
        "listener/two.hostnames: listener 'one' serves every host on port 80"
    ]


def test_a_route_names_listeners_that_exist_or_that_of_the_settings() -> None:
    fields = {"name": "a", "prefix": "/a", "service_name": "s", "listeners": ["default", "web", "inner"]}
    route = Declared("route", "a", "routes[0]", fields, parse("route", fields))
    existing = {("service", "s"): None, ("listener", "web"): None}
    found = check_references(existing, [route])
    assert list(map(str, found)) == ["routes[0].listeners[2]: listener 'inner' does not exist"]


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [([], [], True), ([], ["web"], True), (["web"], ["web", "x"], True), (["web"], ["x"], False)],
)
def test_routes_of_different_listeners_may_match_the_same(
    one: list[str], other: list[str], *, warned: bool
) -> None:
    routes = [
        {"name": name, "prefix": "/a", "service_name": "s", "listeners": listeners}
        for name, listeners in (("a", one), ("b", other))
    ]
    items = [Declared("route", str(each["name"]), "", each, parse("route", each)) for each in routes]
    assert len(list(overlaps(ResourceIndex(), items, lambda _: None))) == warned


def entries(*resources: Resource) -> list[Entry]:
    return [Entry(key_of(one.KIND, one.name), encode(one), 5) for one in resources]
