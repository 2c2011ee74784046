"""Which route a request gets: segments, precedence, hosts, methods; checked against a search that knows no tricks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import NOT_FOUND, MethodNotAllowed, NotFound, Router, upstream_path


def prefix(name: str, value: str, *methods: str, hosts: tuple[str, ...] = ()) -> Route:
    return Route(name, "svc", prefix=value, methods=frozenset(methods), hosts=hosts)


def exact(name: str, value: str, *methods: str, hosts: tuple[str, ...] = ()) -> Route:
    return Route(name, "svc", path=value, methods=frozenset(methods), hosts=hosts)


def found(router: Router, path: str, method: str = "GET", host: str = "localhost") -> str | tuple[str, ...]:
    """The route's name, "none", or the methods of a 405."""
    match router.match(host, path, method):
        case Route(name=name):
            return name
        case MethodNotAllowed(allow=allow):
            return allow
        case NotFound():
            return "none"


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/x", "/v2/x/y/z", "/v2//x"])
def test_a_prefix_covers_whole_segments(path: str) -> None:
    assert found(Router([prefix("v2", "/v2")]), path) == "v2"


@pytest.mark.parametrize("path", ["/v2x", "/v2x/y", "/v", "/V2", "/", "/x/v2", "/v2%2fx", "/v2;x", ""])
def test_a_prefix_covers_nothing_else(path: str) -> None:
    assert found(Router([prefix("v2", "/v2")]), path) == "none"


@pytest.mark.parametrize("path", ["/", "/x", "/x/y", "//", "/x/"])
def test_the_root_prefix_covers_everything(path: str) -> None:
    assert found(Router([prefix("all", "/")]), path) == "all"


def test_a_slash_at_the_end_of_a_prefix_says_nothing() -> None:
    router = Router([prefix("v2", "/v2/")])
    assert found(router, "/v2") == found(router, "/v2/x") == "v2"
    assert found(router, "/v2x") == "none"


def test_an_exact_path_covers_itself() -> None:
    router = Router([exact("one", "/a/b"), exact("slash", "/c/"), exact("root", "/")])
    assert found(router, "/a/b") == "one"
    assert found(router, "/a/b/") == found(router, "/a/b/c") == found(router, "/a") == "none"
    assert (found(router, "/c/"), found(router, "/c")) == ("slash", "none")
    assert found(router, "/") == "root"


def test_the_most_specific_path_wins() -> None:
    router = Router([prefix("all", "/"), prefix("a", "/a"), prefix("ab", "/a/b"), exact("exact", "/a/b")])
    assert found(router, "/a/b") == "exact"
    assert found(router, "/a/b/c") == "ab"
    assert found(router, "/a/x") == "a"
    assert found(router, "/b") == "all"


def test_the_order_of_the_configuration_does_not_matter() -> None:
    routes = [prefix("b", "/a"), prefix("a", "/a"), prefix("get", "/a", "GET"), exact("e", "/a", "PUT")]
    for router in (Router(routes), Router(reversed(routes))):
        assert found(router, "/a") == "get"
        assert found(router, "/a", "PUT") == "e"
        assert found(router, "/a", "DELETE") == "a"


def test_a_route_that_does_not_take_the_method_is_passed_over() -> None:
    router = Router([exact("e", "/a/b", "GET"), prefix("ab", "/a/b", "POST"), prefix("a", "/a", "PUT")])
    assert found(router, "/a/b", "GET") == "e"
    assert found(router, "/a/b", "POST") == "ab"
    assert found(router, "/a/b", "PUT") == "a"


def test_a_method_nobody_takes_is_refused_with_all_that_are_taken() -> None:
    router = Router(
        [
            exact("e", "/a/b", "GET"),
            prefix("a", "/a", "PUT", "GET"),
            prefix("other", "/b", "PATCH"),
            prefix("host", "/a", "POST", hosts=("h.example.org",)),
            prefix("wild", "/a", "DELETE", hosts=("*.example.org",)),
        ]
    )
    assert found(router, "/a/b", "TRACE") == ("GET", "PUT")
    assert found(router, "/a/b", "TRACE", "H.example.org") == ("DELETE", "GET", "POST", "PUT")
    assert found(router, "/a/b", "TRACE", "x.example.org") == ("DELETE", "GET", "PUT")
    assert found(router, "/c", "TRACE") == "none"


def test_methods_are_case_sensitive() -> None:
    assert found(Router([prefix("a", "/a", "GET")]), "/a", "get") == ("GET",)


def test_the_most_specific_host_wins_before_the_path_is_looked_at() -> None:
    router = Router(
        [
            exact("any", "/a/b"),
            prefix("org", "/", hosts=("*.org",)),
            prefix("example", "/", hosts=("*.example.org",)),
            prefix("www", "/", hosts=("www.example.org",)),
        ]
    )
    assert found(router, "/a/b", host="www.example.org") == "www"
    assert found(router, "/a/b", host="api.example.org") == "example"
    assert found(router, "/a/b", host="a.b.example.org") == "example"
    assert found(router, "/a/b", host="example.org") == "org"
    assert found(router, "/a/b", host="example.com") == "any"


def test_a_host_without_a_matching_route_falls_back_to_less_specific_hosts() -> None:
    router = Router(
        [
            prefix("any", "/any"),
            prefix("wild", "/wild", hosts=("*.example.org",)),
            prefix("www", "/www", hosts=("www.example.org",)),
        ]
    )
    assert [found(router, path, host="www.example.org") for path in ("/www", "/wild", "/any", "/no")] == [
        "www",
        "wild",
        "any",
        "none",
    ]


@pytest.mark.parametrize("host", ["WWW.Example.ORG", "www.example.org"])
def test_hosts_are_compared_without_regard_to_case(host: str) -> None:
    assert found(Router([prefix("a", "/", hosts=("www.EXAMPLE.org",))]), "/", host=host) == "a"
    assert found(Router([prefix("a", "/", hosts=("*.EXAMPLE.org",))]), "/", host=host) == "a"


@pytest.mark.parametrize("host", ["example.org", ".example.org", "xexample.org", "example.org.evil", "", "."])
def test_a_wildcard_needs_a_label_in_front(host: str) -> None:
    assert found(Router([prefix("a", "/", hosts=("*.example.org",))]), "/", host=host) == "none"


def test_a_route_may_name_several_hosts() -> None:
    router = Router([prefix("a", "/", hosts=("a.org", "*.b.org", "A.org"))])
    assert found(router, "/", host="a.org") == found(router, "/", host="x.b.org") == "a"
    assert found(router, "/", host="c.org") == "none"


def test_a_table_without_routes_finds_nothing() -> None:
    assert Router().match("localhost", "/", "GET") is NOT_FOUND


def test_a_change_leaves_the_old_router_alone() -> None:
    old = Router([prefix("a", "/a"), prefix("b", "/b"), prefix("h", "/", hosts=("h.org",))])
    new = old.changed([prefix("a", "/a")], [prefix("c", "/c"), prefix("a2", "/a", "GET")])
    assert (found(old, "/a"), found(old, "/c")) == ("a", "none")
    assert (found(new, "/a"), found(new, "/b"), found(new, "/c")) == ("a2", "b", "c")
    assert found(new, "/a", "PUT") == ("GET",)
    assert found(new, "/x", host="h.org") == "h"


def test_a_route_may_be_replaced_by_one_of_its_name() -> None:
    router = Router([prefix("a", "/a", "GET")]).changed(
        [prefix("a", "/a", "GET")], [prefix("a", "/a", "PUT")]
    )
    assert found(router, "/a") == ("PUT",)


def test_hosts_without_routes_leave_the_table() -> None:
    """They would cost every request a look-up."""
    route = prefix("h", "/", hosts=("h.org", "*.h.org"))
    emptied = Router([route, prefix("a", "/a")]).changed([route], [])
    assert not emptied._hosts and not emptied._wildcards
    assert found(emptied, "/a", host="h.org") == "a"
    assert found(Router([prefix("a", "/a")]).changed([prefix("a", "/a")], []), "/a") == "none"


def test_removing_what_is_not_there_is_a_mistake_of_the_caller() -> None:
    router = Router([prefix("a", "/a")])
    with pytest.raises(KeyError):
        router.changed([prefix("b", "/a")], [])
    with pytest.raises(KeyError):
        router.changed([prefix("a", "/b")], [])
    assert found(router, "/a") == "a"


PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))
HOSTS = st.sampled_from(["x.org", "y.x.org", "z.y.x.org", "org", "X.ORG", "other"])
PATTERNS = st.sampled_from(["x.org", "*.x.org", "*.org", "Y.x.org", "*.y.x.org"])
METHODS = st.sampled_from(["GET", "PUT", "POST"])


@st.composite
def tables(draw: st.DrawFn) -> list[Route]:
    routes = []
    for number in range(draw(st.integers(0, 8))):
        path, is_prefix = draw(PATHS), draw(st.booleans())
        routes.append(
            Route(
                f"r{number}",
                "svc",
                prefix=path if is_prefix else None,
                path=None if is_prefix else path,
                hosts=tuple(draw(st.lists(PATTERNS, max_size=2))),
                methods=draw(st.frozensets(METHODS, max_size=2)),
            )
        )
    return routes


def host_rank(route: Route, host: str) -> int | None:
    """How well a route's hosts match: None not at all, 0 as "every host", else the better the longer."""
    if not route.hosts:
        return 0
    ranks = []
    for pattern in (pattern.lower() for pattern in route.hosts):
        if pattern == host.lower():
            ranks.append(1000)
        elif pattern.startswith("*") and host.lower().endswith(pattern[1:]) and len(host) >= len(pattern):
            ranks.append(len(pattern))
    return max(ranks, default=None)


def dumb_match(routes: list[Route], host: str, path: str, method: str) -> str | tuple[str, ...]:
    """Look at every route, rank those that match."""
    matches = []
    for route in routes:
        rank = host_rank(route, host)
        if route.prefix is not None:
            segments = route.prefix.split("/")
            while len(segments) > 1 and segments[-1] == "":
                segments.pop()
            path_matches = path.split("/")[: len(segments)] == segments
        else:
            segments = []
            path_matches = path == route.path
        if rank is not None and path_matches:
            key = (-rank, route.path is None, -len("/".join(segments)), not route.methods, route.name)
            matches.append((key, route))
    for _, route in sorted(matches, key=lambda match: match[0]):
        if not route.methods or method in route.methods:
            return route.name
    allow = {method for _, route in matches for method in route.methods}
    return tuple(sorted(allow)) if allow else "none"


@given(tables(), HOSTS, PATHS, METHODS)
def test_it_finds_what_a_search_through_all_routes_finds(
    routes: list[Route], host: str, path: str, method: str
) -> None:
    assert found(Router(routes), path, method, host) == dumb_match(routes, host, path, method)


@given(tables(), st.data())
def test_a_changed_router_is_as_good_as_a_new_one(routes: list[Route], data: st.DataObject) -> None:
    before = data.draw(st.lists(st.sampled_from(routes), unique_by=id) if routes else st.just([]))
    added = [route for route in routes if route not in before]
    removed = data.draw(st.lists(st.sampled_from(before), unique_by=id) if before else st.just([]))
    router = Router(before).changed(removed, added)
    left = [route for route in routes if route not in removed]
    host, path, method = data.draw(HOSTS), data.draw(PATHS), data.draw(METHODS)
    assert found(router, path, method, host) == dumb_match(left, host, path, method)


@pytest.mark.parametrize(
    ("strip", "rewrite", "path", "upstream"),
    [
        (False, "", "/orders/5", "/orders/5"),
        (True, "", "/orders/5", "/5"),
        (True, "", "/orders", "/"),
        (True, "", "/orders/", "/"),
        (False, "/v1/o", "/orders/5", "/v1/o/5"),
        (True, "/v1/o", "/orders/5", "/v1/o/5"),
        (False, "/v1/o/", "/orders/5", "/v1/o/5"),
        (False, "/v1/o", "/orders", "/v1/o"),
        (False, "/", "/orders/5", "/5"),
        (False, "/", "/orders", "/"),
    ],
)
def test_the_matched_prefix_is_stripped_or_rewritten(
    strip: bool, rewrite: str, path: str, upstream: str
) -> None:
    for value in ("/orders", "/orders/"):
        route = Route("r", "svc", prefix=value, strip_prefix=strip, rewrite=rewrite)
        assert upstream_path(route, path) == upstream


def test_the_root_prefix_is_rewritten_too() -> None:
    assert upstream_path(Route("r", "svc", prefix="/", rewrite="/api"), "/x") == "/api/x"
    assert upstream_path(Route("r", "svc", prefix="/", strip_prefix=True), "/x") == "/x"


def test_an_exact_path_is_rewritten_whole_and_never_stripped() -> None:
    assert upstream_path(Route("r", "svc", path="/a/b", rewrite="/c"), "/a/b") == "/c"
    assert upstream_path(Route("r", "svc", path="/a/b", strip_prefix=True), "/a/b") == "/a/b"
