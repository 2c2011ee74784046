"""References that lead somewhere, and routes with the same match."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Resource, ResourceId, Route, Scope, Service, User, parse
from controlplane.model.validate import Declared, check_references, overlaps


def config(*resources: Resource) -> dict[ResourceId, Resource]:
    return {(resource.KIND, resource.name): resource for resource in resources}


def declared(*resources: Resource) -> list[Declared]:
    return [
        Declared(resource.KIND, resource.name, f"new[{position}]", vars(resource), resource)
        for position, resource in enumerate(resources)
    ]


def said(existing: Mapping[ResourceId, Resource], *new: Resource) -> list[str]:
    return [str(problem) for problem in check_references(existing, declared(*new))]


ORDERS = Service(service_name="orders")
READ = Scope(name="orders:read")


def route(name: str, prefix: str | None = None, **fields: object) -> Route:
    raw = {"name": name, "service_name": "orders", **({"prefix": prefix} if prefix else {}), **fields}
    made = parse("route", raw)
    assert isinstance(made, Route)
    return made


def test_references_lead_to_what_exists_or_is_declared_beside() -> None:
    assert said(config(ORDERS), route("a", "/a")) == []
    assert said({}, route("a", "/a"), ORDERS) == []
    assert said({}, route("a", "/a")) == ["new[0].service_name: service 'orders' does not exist"]
    assert said(config(ORDERS), route("a", "/a", scopes=["x", "y"], rate_limits=["z"])) == [
        "new[0].scopes[0]: scope 'x' does not exist",
        "new[0].scopes[1]: scope 'y' does not exist",
        "new[0].rate_limits[0]: rate limit 'z' does not exist",
    ]
    asking = route("a", "/a", authorize_with={"service_name": "auth"})
    assert said(config(ORDERS), asking) == [
        "new[0].authorize_with.service_name: service 'auth' does not exist"
    ]
    assert said(config(ORDERS), asking, Service(service_name="auth")) == []
    assert said(config(READ), User(username="u", scopes=("orders:read", "x"))) == [
        "new[0].scopes[1]: scope 'x' does not exist"
    ]


def test_what_exists_without_being_readable_is_no_dangling_reference() -> None:
    assert check_references({}, declared(route("a", "/a")), also={("service", "orders")}) == []


def test_what_is_declared_but_wrong_is_no_dangling_reference() -> None:
    wrong = Declared("service", "orders", "services[0]", {}, None)
    assert check_references({}, [wrong, *declared(route("a", "/a"))]) == []


def test_what_is_already_stored_is_not_judged_again() -> None:
    assert said(config(route("a", "/a")), ORDERS) == []


def warned(existing: Mapping[ResourceId, Resource], *new: Resource) -> list[str]:
    """What is said of overlaps; existing routes were created in the order of their names."""
    ages = {name: position for position, (kind, name) in enumerate(sorted(existing), 5) if kind == "route"}
    return [str(problem) for problem in overlaps(ResourceIndex(existing), declared(*new), ages.get)]


HEADER = {"name": "x-version", "exact": "2"}
OVERLAPS: list[tuple[Route, Route, bool]] = [
    # HTTPRouteRule.matches (apis/v1/httproute_types.go): only a tie in all criteria is left to age and name.
    (route("a", "/x"), route("b", "/x"), True),
    (route("a", "/x"), route("b", "/x/y"), False),
    (route("a", "/x"), route("b", path="/x"), False),
    (route("a", path="/x"), route("b", path="/x"), True),
    (route("a", path="/x"), route("b", path="/x/"), False),
    (route("a", path_regex="/x[0-9]"), route("b", path_regex="/x[0-9]"), True),
    (route("a", path_regex="/x[0-9]"), route("b", path_regex="/x[0-8]"), False),
    (route("a", "/x", methods=["GET"]), route("b", "/x", methods=["POST"]), False),
    (route("a", "/x", methods=["GET", "PUT"]), route("b", "/x", methods=["POST", "PUT"]), True),
    (route("a", "/x", methods=["GET"]), route("b", "/x"), False),
    (route("a", "/x", headers=[HEADER]), route("b", "/x"), False),
    (route("a", "/x", headers=[HEADER]), route("b", "/x", headers=[HEADER]), True),
    (route("a", "/x", headers=[HEADER]), route("b", "/x", headers=[{**HEADER, "exact": "3"}]), False),
    (route("a", "/x", query=[HEADER]), route("b", "/x", query=[HEADER]), True),
    (route("a", "/x", query=[HEADER]), route("b", "/x", headers=[HEADER]), False),
    (route("a", "/x", hosts=["a.example"]), route("b", "/x"), False),
    (route("a", "/x", hosts=["a.example"]), route("b", "/x", hosts=["b.example"]), False),
    (route("a", "/x", hosts=["a.example", "b.example"]), route("b", "/x", hosts=["b.example"]), True),
    (route("a", "/x", hosts=["*.example"]), route("b", "/x", hosts=["a.example"]), False),
    (route("a", "/x", hosts=["*.example"]), route("b", "/x", hosts=["*.example"]), True),
]


@pytest.mark.parametrize(("one", "other", "tie"), OVERLAPS)
def test_two_routes_with_the_same_match_are_named(one: Route, other: Route, tie: bool) -> None:
    field = "prefix" if other.prefix else "path" if other.path else "path_regex"
    told = f"new[0].{field}: matches the same requests as route 'a': 'a' is older, and answers them"
    assert said(config(ORDERS, one), other) == said(config(ORDERS), one, other) == []
    assert warned(config(ORDERS, one), other) == ([told] if tie else [])
    both = (
        f"new[1].{field}: matches the same requests as route 'a': 'a' comes first by name, and answers them"
    )
    assert warned(config(ORDERS), one, other) == ([both] if tie else [])
    [*again] = warned(config(ORDERS, one, other), other)
    assert bool(again) == tie


def test_a_route_takes_its_own_place() -> None:
    assert warned(config(ORDERS, route("a", "/x")), route("a", "/x", methods=["GET"])) == []
    # Two routes may swap their matches in one change.
    before = config(ORDERS, route("a", "/x"), route("b", "/y"))
    assert warned(before, route("a", "/y"), route("b", "/x")) == []


def test_the_older_of_three_answers() -> None:
    before = config(ORDERS, route("b", "/x"), route("c", "/x"))
    assert warned(before, route("a", "/x")) == [
        "new[0].prefix: matches the same requests as route 'b': 'b' is older, and answers them",
        "new[0].prefix: matches the same requests as route 'c': 'c' is older, and answers them",
    ]


def test_referrers() -> None:
    limit = parse("rate_limit", {"name": "few", "per_second": 1, "burst": 1})
    instance = parse("instance", {"service_name": "orders", "instance_id": "1", "host": "h", "port": 1})
    using = route("a", "/a", scopes=["orders:read"], rate_limits=["few"])
    everything = config(ORDERS, READ, limit, instance, using, User(username="u", scopes=("orders:read",)))
    index = ResourceIndex(everything)
    assert index.needing(("service", "orders")) == {("instance", "orders/1"), ("route", "a")}
    assert index.needing(("scope", "orders:read")) == {("route", "a"), ("user", "u")}
    assert index.needing(("rate_limit", "few")) == {("route", "a")}
    assert index.needing(("route", "a")) == set()
    index.remove(("route", "a"), using)
    assert index.needing(("scope", "orders:read")) == {("user", "u")}
    assert index.needing(("rate_limit", "few")) == set()
    assert index.rivals(using) == {}
