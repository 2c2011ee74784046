"""Listeners in the table: which routes each serves, through any sequence of changes."""

from __future__ import annotations

import random

import pytest

from dataplane.config.apply import Assembly
from dataplane.config.builtin import status_items
from dataplane.config.decode import Part
from dataplane.config.items import Item, ResourceSet, key_of
from dataplane.config.table import EMPTY, Table, TableError, UnlinkedRoute, build, evolve
from dataplane.gateway.policy.resources import Listener, Route, Service
from dataplane.gateway.policy.router import Router

SERVICE = Service("s")


def route(name: str, *listeners: str, path: str = "") -> UnlinkedRoute:
    return UnlinkedRoute(Route(name, "s", path=path or f"/{name}", public=True, listeners=listeners))


def served(router: Router, names: list[str]) -> set[str]:
    found = (router.match("", f"/{name}", "GET") for name in names)
    return {one.name for one in found if isinstance(one, Route)}


def by_listener(table: Table, names: list[str]) -> dict[str, set[str]]:
    routers = {"default": table.router, **table.routers}
    return {name: served(router, names) for name, router in routers.items()}


def test_routes_attach_to_listeners_or_to_all() -> None:
    items: list[Item] = [
        Listener("web", 80),
        Listener("inner", 81),
        route("a"),
        route("b", "web"),
        route("c", "default", "inner"),
    ]
    table = build(ResourceSet.of(SERVICE, *items))
    assert by_listener(table, ["a", "b", "c"]) == {
        "default": {"a", "c"},
        "web": {"a", "b"},
        "inner": {"a", "c"},
    }
    assert set(table.sites) == {80, 81} and set(table.attached) == {"b", "c"}


def test_the_nodes_own_paths_are_for_the_listener_of_the_settings() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=True))
    change = tuple((key_of(item), item) for item in (SERVICE, Listener("web", 80), route("a")))
    assembly.take(Part(0, "", 1, "", change, ()))
    table = assembly.complete(1, "")
    assert by_listener(table, ["a", "health", "metrics"]) == {
        "default": {"a", "headgate:health", "headgate:metrics"},
        "web": {"a"},
    }


def test_a_route_of_a_listener_leaves_the_nodes_own_path_alone() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    items = (SERVICE, Listener("web", 80), route("mine", "web", path="/health"))
    assembly.take(Part(0, "", 1, "", tuple((key_of(item), item) for item in items), ()))
    table = assembly.complete(1, "")
    assert by_listener(table, ["health"]) == {"default": {"headgate:health"}, "web": {"mine"}}


@pytest.mark.parametrize(
    ("items", "problems"),
    [
        (
            [Listener("one", 80, ("a.org", "b.org")), Listener("two", 80, ("b.org",))],
            ["listener/two hostnames: listener 'one' serves b.org on port 80"],
        ),
        (
            [Listener("one", 80), Listener("two", 80)],
            ["listener/two hostnames: listener 'one' serves every host on port 80"],
        ),
        (
            [Listener("one", 80, ("a.org",)), Listener("two", 80, ("b.org",), protocol="https")],
            [
                "listener/two protocol: must be that of listener 'one', which has the same port 80",
            ],
        ),
        ([Listener("one", 80, ("*.a.org",)), Listener("two", 80, ("b.a.org",))], []),
        ([Listener("one", 80), Listener("two", 81)], []),
    ],
    ids=[
        "same host",
        "every host twice",
        "protocols",
        "wildcard and a name below it",
        "other port",
    ],
)
def test_listeners_that_cannot_be(items: list[Item], problems: list[str]) -> None:
    if not problems:
        build(ResourceSet.of(SERVICE, *items))
        return
    with pytest.raises(TableError) as raised:
        build(ResourceSet.of(SERVICE, *items))
    assert list(map(str, raised.value.problems)) == problems


def test_a_listener_of_another_pool_serves_nothing_here() -> None:
    """Its routes are sent to every pool that has one of their listeners."""
    resources = ResourceSet.of(SERVICE, Listener("web", 80), route("a", "web", "edge"))
    table = build(resources)
    assert by_listener(table, ["a"]) == {"default": set(), "web": {"a"}}
    resources.put(("listener", "edge"), Listener("edge", 81))
    resources.remove(("listener", "web"))
    table = evolve(table, resources, [("listener", "edge"), ("listener", "web")], 2, "")
    assert by_listener(table, ["a"]) == {"default": set(), "edge": {"a"}}


def test_without_listeners_nothing_is_kept_for_them() -> None:
    table = build(ResourceSet.of(SERVICE, route("a")))
    assert (table.routers, table.sites, table.attached) == (EMPTY.routers, EMPTY.sites, EMPTY.attached)


@pytest.mark.parametrize("seed", range(20))
def test_any_changes_lead_to_the_table_that_a_build_makes(seed: int) -> None:
    """An oracle: the table that evolved against the one that is built anew."""
    dice = random.Random(seed)
    names = [f"r{number}" for number in range(8)]
    resources = ResourceSet.of(SERVICE)
    table = build(resources)
    for revision in range(2, 40):
        touched = []
        for _ in range(dice.randrange(1, 4)):
            if dice.random() < 0.3:
                name = dice.choice("xyz")
                item: Item = Listener(name, dice.randrange(80, 83), (f"{name}.org",))
            else:
                there = ["default", *resources.listener]
                item = route(dice.choice(names), *dice.sample(there, dice.randrange(0, len(there) + 1)))
            key = key_of(item)
            if dice.random() < 0.3 and key[0] == "route":
                resources.remove(key)
            else:
                resources.put(key, item)
            touched.append(key)
        used = {name for entry in resources.route.values() for name in entry.route.listeners}
        for name in sorted(set(resources.listener) - used):
            if dice.random() < 0.3:
                resources.remove(("listener", name))
                touched.append(("listener", name))
        table = evolve(table, resources, touched, revision, "")
        fresh = build(resources)
        assert by_listener(table, names) == by_listener(fresh, names)
        assert set(table.attached.items()) == set(fresh.attached.items())
        assert set(table.sites) == set(fresh.sites)
