"""Pools: their names, what may share a port or a match, and routes that no data plane serves."""

from __future__ import annotations

import pytest

from controlplane.model.builtin import taken_away
from controlplane.model.problems import InvalidConfig
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Listener, Resource, Route, Service, parse
from controlplane.model.stored import Stamped, encode
from controlplane.model.validate import Declared, clashes, overlaps, stranded


def listener(name: str, *pools: str) -> Listener:
    return Listener(name=name, port=8080, pools=pools)


def route(name: str, *pools: str, listeners: tuple[str, ...] = ()) -> Route:
    return Route(name=name, prefix="/", service_name="s", pools=pools, listeners=listeners)


def declared(*resources: Resource) -> list[Declared]:
    return [
        Declared(one.KIND, one.name, f"{one.PLURAL}[{position}]", {}, one)
        for position, one in enumerate(resources)
    ]


def test_the_pool_of_all_others_is_no_resource() -> None:
    with pytest.raises(InvalidConfig, match="whose credential names none"):
        parse("pool", {"name": "default"})
    with pytest.raises(InvalidConfig, match="at most 63 characters"):
        parse("pool", {"name": "a" * 64})


def test_earlier_control_planes_see_the_field_only_where_it_is_used() -> None:
    assert b"pools" not in encode(listener("a")) + encode(route("a"))
    assert b'"pools": ["east"]' in encode(listener("a", "east"))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ((), (), True),
        (("east",), (), True),
        (("east",), ("west",), False),
        (("east", "default"), ("west", "default"), True),
    ],
)
def test_pools_are_apart(one: tuple[str, ...], other: tuple[str, ...], together: bool) -> None:
    ports = clashes(ResourceIndex(), declared(listener("a", *one), listener("b", *other)))
    matches = overlaps(ResourceIndex(), declared(route("a", *one), route("b", *other)), lambda _: None)
    assert (bool([*ports]), bool([*matches])) == (together, together)


def test_a_route_that_no_data_plane_serves_is_told() -> None:
    existing = {("listener", "west"): Stamped(listener("west", "west"), 1)}
    new = declared(
        route("lost", "east", listeners=("west",)),
        route("found", "east", listeners=("west", "east")),
        route("settings", "east", listeners=("west", "default")),
        route("anywhere", listeners=("west",)),
        Listener(name="east", port=8081, pools=("east",)),
    )
    assert [str(one) for one in stranded(existing, new)] == [
        "routes[0].pools: no data plane serves the route: its listeners are for other pools"
    ]


def test_a_route_of_another_pool_takes_nothing_from_the_admin_api() -> None:
    api = Route(name="headgate-api", prefix="/api/v1", service_name="controlplane", public=True)
    index = ResourceIndex(
        {("route", api.name): api, ("service", "controlplane"): Service(service_name="controlplane")}
    )
    for pools, taken in (("east",), False), ((), True):
        shadow = Route(name="x", prefix="/api/v1/apply", service_name="s", pools=pools)
        assert (taken_away(index, [(("route", "x"), None, shadow)]) is not None) is taken
