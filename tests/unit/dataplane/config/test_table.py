"""The table: linked, indexed, or refused with every reason."""

from __future__ import annotations

import random

import pytest

from dataplane.config.table import (
    EMPTY,
    Item,
    Problem,
    ResourceSet,
    Table,
    TableError,
    UnlinkedRoute,
    build,
    evolve,
    key_of,
)
from dataplane.gateway.policy.resources import (
    Instance,
    Limit,
    LimitKey,
    Reset,
    Retries,
    Route,
    Service,
    User,
    VerificationKey,
)

ORDERS = Service("orders")
BURST = Limit("burst", 10.0, 20, LimitKey.ADDRESS)
ROUTE = UnlinkedRoute(Route("orders", "orders", prefix="/orders", public=True), ("burst",))


def problems(resources: ResourceSet) -> list[str]:
    with pytest.raises(TableError) as caught:
        build(resources, 7, "digest")
    return [str(problem) for problem in caught.value.problems]


def test_the_empty_table() -> None:
    assert (EMPTY.revision, EMPTY.digest, dict(EMPTY.routes), dict(EMPTY.services)) == (0, "", {}, {})


def test_routes_are_linked_to_their_limits() -> None:
    table = build(ResourceSet.of(ORDERS, BURST, ROUTE), 7, "digest")
    assert (table.revision, table.digest) == (7, "digest")
    assert table.routes["orders"].limits == (BURST,)
    assert table.router.match("any.host", "/orders/1", "GET") is table.routes["orders"]


def test_instances_stand_by_service_and_every_service_has_an_entry() -> None:
    second, first = Instance("orders", "o-2", "127.0.0.1", 2), Instance("orders", "o-1", "127.0.0.1", 1)
    table = build(ResourceSet.of(ORDERS, Service("payments"), second, first))
    assert dict(table.instances) == {"orders": (first, second), "payments": ()}


def test_everything_else_is_at_hand() -> None:
    alice, key = User("alice", frozenset({"a:b"})), VerificationKey("k1", "{}", "headgate", "headgate")
    later, sooner = Reset(9, circuit="orders"), Reset(8, rate_limit="subject:alice")
    table = build(ResourceSet.of(alice, key, later, sooner))
    assert (dict(table.users), table.keys, table.resets) == ({"alice": alice}, (key,), (sooner, later))


def test_every_dangling_reference_is_told() -> None:
    stray = UnlinkedRoute(Route("stray", "gone", prefix="/stray"), ("burst", "lost"))
    lonely = Instance("nowhere", "n-1", "127.0.0.1", 1)
    assert problems(ResourceSet.of(ORDERS, BURST, ROUTE, stray, lonely)) == [
        "instance/nowhere/n-1 service_name: service 'nowhere' does not exist",
        "route/stray service_name: service 'gone' does not exist",
        "route/stray rate_limits[1]: rate limit 'lost' does not exist",
    ]


def test_of_two_routes_for_the_same_requests_the_older_one_answers() -> None:
    """HTTPRouteRule.matches (apis/v1/httproute_types.go): the oldest route, then the first by name."""
    older = UnlinkedRoute(Route("z", "orders", prefix="/orders", created=3))
    newer = UnlinkedRoute(Route("a", "orders", prefix="/orders", created=4))
    twin = UnlinkedRoute(Route("y", "orders", prefix="/orders", created=3))
    table = build(ResourceSet.of(ORDERS, newer, older))
    assert table.router.match("any.host", "/orders", "GET") is table.routes["z"]
    table = build(ResourceSet.of(ORDERS, newer, older, twin))
    assert table.router.match("any.host", "/orders", "GET") is table.routes["y"]


def test_the_same_prefix_under_another_host_or_method_is_another_match() -> None:
    build(
        ResourceSet.of(
            ORDERS,
            UnlinkedRoute(Route("a", "orders", prefix="/x")),
            UnlinkedRoute(Route("b", "orders", prefix="/x", hosts=("example.org",))),
            UnlinkedRoute(Route("c", "orders", path="/x")),
        )
    )


def test_a_table_does_not_change_with_the_resources_it_was_built_from() -> None:
    resources = ResourceSet.of(ORDERS, BURST, ROUTE)
    table = build(resources)
    resources.remove(("route", "orders"))
    resources.put(("service", "payments"), Service("payments"))
    assert (list(table.routes), list(table.services)) == (["orders"], ["orders"])


def random_item(luck: random.Random) -> Item:
    """One of few names, so that most changes replace something."""
    number, service = luck.randrange(6), f"s{luck.randrange(4)}"
    match luck.randrange(5):
        case 0:
            return Service(service, retries=Retries(luck.randrange(3)))
        case 1:
            return Instance(service, f"i{number}", "127.0.0.1", luck.randrange(1, 9))
        case 2:
            return Limit(f"l{number % 3}", luck.randrange(1, 9), 1, LimitKey.ADDRESS)
        case 3:
            return User(f"u{number}", frozenset({f"x:{luck.randrange(3)}"}))
        case _:
            limits = tuple(sorted({f"l{luck.randrange(3)}" for _ in range(luck.randrange(3))}))
            hosts: tuple[str, ...] = luck.choice([(), (), ("any.host",), ("*.host", "any.host")])
            methods = luck.choice([frozenset(), frozenset({"GET"})])
            prefix = f"/{luck.randrange(7)}"
            return UnlinkedRoute(
                Route(f"r{number}", service, prefix=prefix, hosts=hosts, methods=methods), limits
            )


def seen(table: Table) -> list[object]:
    paths = [
        table.router.match(host, f"/{number}/x", method)
        for number in range(7)
        for host in ("any.host", "other.host", "else")
        for method in ("GET", "POST")
    ]
    return [table.routes, table.services, table.instances, table.limits, table.users, paths]


@pytest.mark.parametrize("seed", range(20))
def test_a_table_that_evolved_is_the_table_built_at_once(seed: int) -> None:
    luck = random.Random(seed)
    table, resources = EMPTY, ResourceSet()
    for revision in range(1, 60):
        staged, touched = resources.copy(), set()
        for _ in range(luck.randrange(1, 5)):
            item = random_item(luck)
            touched.add(key_of(item))
            if luck.random() < 0.25:
                staged.remove(key_of(item))
            else:
                staged.put(key_of(item), item)
        try:
            whole = build(staged, revision)
        except TableError:
            with pytest.raises(TableError):
                evolve(table, staged, touched, revision, "")
        else:
            table, resources = evolve(table, staged, touched, revision, ""), staged
            assert seen(table) == seen(whole)
    assert table.revision


def test_resources_of_unknown_kind() -> None:
    with pytest.raises(KeyError):
        ResourceSet().put(("issuer", "x"), ORDERS)
    with pytest.raises(KeyError):
        ResourceSet().remove(("__class__", "x"))


def test_an_error_says_everything_in_one_line() -> None:
    error = TableError([Problem("route/a", "prefix", "is wrong"), Problem("", "", "is too big")])
    assert str(error) == "route/a prefix: is wrong; is too big"
