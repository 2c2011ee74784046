"""Changes are taken in beside the table in use, and change nothing when they fail."""

from __future__ import annotations

import pytest

from dataplane.config.apply import Assembly
from dataplane.config.builtin import STATUS_SERVICE, status_items
from dataplane.config.decode import NOTHING, Bundle, difference, read_part, unpack
from dataplane.config.table import Table, TableError
from dataplane.gateway.policy.resources import Route
from tests.support import wire
from tests.support.wire import Resource


def bundle(*resources: wire.Resource, revision: int) -> Bundle:
    return unpack(wire.snapshot(*resources, revision=revision))


def move(assembly: Assembly, have: Bundle, want: Bundle) -> Table:
    for data in difference(have, want):
        assembly.take(read_part(data))
    return assembly.complete(want.revision, want.digest)


FIRST = bundle(wire.service("orders"), wire.route("orders", "orders"), revision=5)
SECOND = bundle(wire.service("orders"), wire.route("sales", "orders", revision=6), revision=6)


def test_from_nothing_to_a_table_to_the_next() -> None:
    assembly = Assembly()
    assert assembly.table.revision == 0
    assert list(move(assembly, NOTHING, FIRST).routes) == ["orders"]
    assert list(move(assembly, FIRST, SECOND).routes) == ["sales"]
    assert (assembly.table.revision, assembly.table.digest) == (6, SECOND.digest)


def test_a_change_that_is_not_based_on_the_table_in_use() -> None:
    assembly = Assembly()
    with pytest.raises(TableError, match="not based on the table in use"):
        move(assembly, FIRST, SECOND)
    assert assembly.table.revision == 0


def test_a_change_that_does_not_link_leaves_everything_as_it_was() -> None:
    assembly = Assembly()
    table = move(assembly, NOTHING, FIRST)
    dangling = bundle(wire.route("orders", "orders"), revision=7)
    with pytest.raises(TableError, match="service 'orders' does not exist"):
        move(assembly, FIRST, dangling)
    assert assembly.table is table
    assert list(move(assembly, FIRST, SECOND).routes) == ["sales"]


def test_every_problem_of_every_part_is_told_and_then_forgotten() -> None:
    assembly = Assembly()
    users = (wire.user(f"u{number}", "a b" if number % 50 == 0 else "a:b") for number in range(200))
    with pytest.raises(TableError) as caught:
        move(assembly, NOTHING, bundle(*users, revision=5))
    assert [problem.resource for problem in caught.value.problems] == [
        f"user/u{n}" for n in (0, 50, 100, 150)
    ]
    table = move(assembly, NOTHING, FIRST)
    assert (list(table.users), list(table.routes)) == ([], ["orders"])


def test_back_to_the_table_before() -> None:
    assembly = Assembly()
    move(assembly, NOTHING, FIRST)
    move(assembly, FIRST, SECOND)
    assembly.revert()
    assert assembly.table.revision == 5
    assert list(move(assembly, FIRST, SECOND).routes) == ["sales"]


def test_more_routes_than_are_allowed() -> None:
    assembly = Assembly(max_routes=2)
    routes = (wire.route(f"r{number}", "orders") for number in range(3))
    with pytest.raises(TableError) as caught:
        move(assembly, NOTHING, bundle(wire.service("orders"), *routes, revision=5))
    assert str(caught.value) == "routes: 3 exceeds MAX_ROUTES 2"


def test_built_in_routes_do_not_count() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=True), max_routes=2)
    first = bundle(wire.service("s"), wire.route("a", "s"), revision=5)
    second = bundle(wire.service("s"), wire.route("a", "s"), wire.route("b", "s"), revision=6)
    move(assembly, NOTHING, first)
    assert len(move(assembly, first, second).routes) == 4


def test_a_key_that_cannot_be_used_is_refused_where_tables_are_checked() -> None:
    unusable = wire.verification_key("k1", jwk='{"kty": "RSA", "n": "AQAB"}')
    with pytest.raises(TableError) as caught:
        move(Assembly(max_routes=10), NOTHING, bundle(unusable, revision=5))
    assert "k1" in str(caught.value)


def test_the_nodes_own_status_is_in_every_table() -> None:
    assembly = Assembly(status_items("0.0.0.0", 8001, expose_metrics=True))
    for table in (assembly.table, move(assembly, NOTHING, FIRST)):
        found = table.router.match("any.host", "/health", "GET")
        assert isinstance(found, Route)
        assert (found.service, found.public) == (STATUS_SERVICE, True)
        assert table.router.match("any.host", "/metrics", "GET").service == STATUS_SERVICE  # type: ignore[union-attr]
        assert [(one.host, one.port) for one in table.instances[STATUS_SERVICE]] == [("127.0.0.1", 8001)]


def test_metrics_are_on_the_traffic_port_only_when_wanted() -> None:
    assembly = Assembly(status_items("::", 8001, expose_metrics=False))
    assert not isinstance(assembly.table.router.match("any.host", "/metrics", "GET"), Route)
    assert assembly.table.instances[STATUS_SERVICE][0].host == "::1"


def test_an_operators_route_takes_the_place_of_a_built_in_one() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    own = bundle(wire.service("orders"), wire.route("mine", "orders", path="/health"), revision=5)
    table = move(assembly, NOTHING, own)
    assert table.router.match("any.host", "/health", "GET") is table.routes["mine"]


def test_a_service_of_a_similar_name_is_the_operators_own() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    own = bundle(wire.service("headgate-status"), wire.instance("headgate-status", "o-1", 9000), revision=5)
    table = move(assembly, NOTHING, own)
    assert [one.id for one in table.instances["headgate-status"]] == ["o-1"]
    assert [one.port for one in table.instances[STATUS_SERVICE]] == [8001]


@pytest.mark.parametrize(
    ("resource", "field"),
    [
        (wire.service("headgate:status"), "name"),
        (wire.instance("headgate:status", "o-1", 9000), "service_name"),
        (wire.route("headgate:health", "orders"), "name"),
        (wire.route("mine", "headgate:status"), "service_name"),
        (wire.rate_limit("headgate:x"), "name"),
    ],
    ids=["service", "instance", "route", "a route to it", "limit"],
)
def test_names_of_built_in_resources_are_refused(resource: Resource, field: str) -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    with pytest.raises(TableError) as caught:
        move(assembly, NOTHING, bundle(wire.service("orders"), resource, revision=5))
    (problem,) = caught.value.problems
    assert (problem.field, "are reserved for the data plane" in problem.detail) == (field, True)


def test_a_built_in_route_comes_back_when_the_operators_goes() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    own = bundle(wire.service("orders"), wire.route("mine", "orders", path="/health"), revision=5)
    moved = bundle(wire.service("orders"), wire.route("mine", "orders", path="/other"), revision=6)
    gone = bundle(wire.service("orders"), revision=7)
    steps = ((NOTHING, own), (own, moved), (moved, own), (own, gone))
    found = [move(assembly, *step).router.match("any.host", "/health", "GET").name for step in steps]  # type: ignore[union-attr]
    assert found == ["mine", "headgate:health", "mine", "headgate:health"]


def test_an_operators_route_for_one_host_leaves_the_built_in_one_to_the_others() -> None:
    assembly = Assembly(status_items("127.0.0.1", 8001, expose_metrics=False))
    own = wire.route("mine", "orders", path="/health", hosts=["own.host"])
    table = move(assembly, NOTHING, bundle(wire.service("orders"), own, revision=5))
    found = [table.router.match(host, "/health", "GET").name for host in ("own.host", "any.host")]  # type: ignore[union-attr]
    assert found == ["mine", "headgate:health"]
