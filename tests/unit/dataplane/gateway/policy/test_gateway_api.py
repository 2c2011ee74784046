"""Matching as the Gateway API defines it: every row is a case of its conformance tests (conformance/tests in
kubernetes-sigs/gateway-api), with each match of a rule as a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import MethodNotAllowed, NotFound, Router


class Asked:
    """A request's header fields and query."""

    def __init__(self, headers: Mapping[str, str], query: str = "") -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}
        self.query = f"?{query}".encode() if query else b""

    def listed_field(self, name: str) -> str | None:
        return self._headers.get(name)


def match(
    backend: str,
    prefix: str = "/",
    *,
    method: str = "",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    hosts: tuple[str, ...] = (),
    path: str | None = None,
) -> Route:
    conditions = Conditions(
        tuple(Condition(name, exact=value) for name, value in (headers or {}).items()),
        tuple(Condition(name, exact=value) for name, value in (query or {}).items()),
    )
    return Route(
        backend,
        backend,
        prefix=None if path else prefix,
        path=path,
        hosts=hosts,
        methods=frozenset({method} if method else ()),
        conditions=conditions if headers or query else None,
        miss_hidden=True,
    )


def router(*matches: Route) -> Router:
    """Rules of one HTTPRoute: of two that tie the first has precedence, so its route is older."""
    return Router(
        replace(one, name=f"{position}-{one.service}", created=position)
        for position, one in enumerate(matches, 1)
    )


HEADER_MATCHING = router(
    match("v1", headers={"version": "one"}),
    match("v2", headers={"version": "two"}),
    match("v1", headers={"version": "two", "color": "orange"}),
    match("v1", headers={"color": "blue"}),
    match("v1", headers={"color": "green"}),
    match("v2", headers={"color": "red"}),
    match("v2", headers={"color": "yellow"}),
)
QUERY_MATCHING = router(
    match("v1", query={"animal": "whale"}),
    match("v2", query={"animal": "dolphin"}),
    match("v3", query={"animal": "dolphin", "color": "blue"}),
    match("v3", query={"ANIMAL": "Whale"}),
    match("v1", "/path1", query={"animal": "whale"}),
    match("v2", headers={"version": "one"}, query={"animal": "whale"}),
    match("v3", "/path2", headers={"version": "two"}, query={"animal": "whale"}),
    match("v1", "/path3", query={"animal": "shark"}),
    match("v1", "/path4", headers={"version": "three"}, query={"animal": "kraken"}),
    match("v1", "/path5", query={"animal": "hydra"}),
    match("v3", headers={"version": "four"}, query={"animal": "hydra"}),
)
METHOD_MATCHING = router(
    match("v1", method="POST"),
    match("v2", method="GET"),
    match("v1", "/path1", method="GET"),
    match("v2", method="PUT", headers={"version": "one"}),
    match("v3", "/path2", method="POST", headers={"version": "two"}),
    match("v1", "/path3", method="PATCH"),
    match("v1", "/path4", method="DELETE", headers={"version": "three"}),
    match("v1", "/path5"),
    match("v2", method="PATCH"),
    match("v3", headers={"version": "four"}),
)
MATCHING = router(
    match("v1"),
    match("v1", headers={"version": "one"}),
    match("v2", "/v2"),
    match("v2", headers={"version": "two"}),
)
ACROSS_ROUTES = router(
    match("v1", hosts=("example.com", "example.net")),
    match("v1", headers={"version": "one"}, hosts=("example.com", "example.net")),
    match("v2", "/v2", hosts=("example.com",)),
    match("v2", headers={"version": "two"}, hosts=("example.com",)),
)
PATH_ORDER = router(
    match("v3", path="/match/exact/one"),
    match("v2", path="/match/exact"),
    match("v1", path="/match"),
    match("v2", "/match/prefix/one"),
    match("v1", "/match/prefix"),
    match("v3", "/match"),
)
EXACT = router(match("v1", path="/one"), match("v2", path="/two"))
HOSTNAMES = router(
    match("v1", hosts=("very.specific.com",)),
    match("v2", hosts=("*.specific.com",)),
    match("v3", hosts=("*.com",)),
)

ROWS: list[tuple[str, Router, str, str, dict[str, str], str]] = [
    # test, routes, method and host, target, headers, backend
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Version": "one"}, "v1"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Version": "two"}, "v2"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Version": "two", "Color": "orange"}, "v1"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Version": "two", "Color": "blue"}, "v2"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "orange"}, "404"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Some-Other-Header": "one"}, "404"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "blue"}, "v1"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "green"}, "v1"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "red"}, "v2"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "yellow"}, "v2"),
    ("HTTPRouteHeaderMatching", HEADER_MATCHING, "GET", "/", {"Color": "purple"}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=whale", {}, "v1"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=dolphin", {}, "v2"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=dolphin&color=blue", {}, "v3"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?ANIMAL=Whale", {}, "v3"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=whale&otherparam=irrelevant", {}, "v1"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=dolphin&color=yellow", {}, "v2"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?color=blue", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=dog", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=whaledolphin", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/path1?animal=whale", {}, "v1"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=whale", {"version": "one"}, "v2"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/path2?animal=whale", {"version": "two"}, "v3"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/path3?animal=shark", {}, "v1"),
    (
        "HTTPRouteQueryParamMatching",
        QUERY_MATCHING,
        "GET",
        "/path4?animal=kraken",
        {"version": "three"},
        "v1",
    ),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=shark", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/path4?animal=kraken", {}, "404"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/path5?animal=hydra", {}, "v1"),
    ("HTTPRouteQueryParamMatching", QUERY_MATCHING, "GET", "/?animal=hydra", {"version": "four"}, "v3"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "POST", "/", {}, "v1"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "GET", "/", {}, "v2"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "HEAD", "/", {}, "404"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "GET", "/path1", {}, "v1"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "PUT", "/", {"version": "one"}, "v2"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "POST", "/path2", {"version": "two"}, "v3"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "PATCH", "/path3", {}, "v1"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "DELETE", "/path4", {"version": "three"}, "v1"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "PUT", "/", {}, "404"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "DELETE", "/path4", {}, "404"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "PATCH", "/path5", {}, "v1"),
    ("HTTPRouteMethodMatching", METHOD_MATCHING, "PATCH", "/", {"version": "four"}, "v2"),
    ("HTTPRouteMatching", MATCHING, "GET", "/", {}, "v1"),
    ("HTTPRouteMatching", MATCHING, "GET", "/example", {}, "v1"),
    ("HTTPRouteMatching", MATCHING, "GET", "/", {"Version": "one"}, "v1"),
    ("HTTPRouteMatching", MATCHING, "GET", "/v2", {}, "v2"),
    ("HTTPRouteMatching", MATCHING, "GET", "/v2/example", {}, "v2"),
    ("HTTPRouteMatching", MATCHING, "GET", "/", {"Version": "two"}, "v2"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/", {}, "v1"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/example", {}, "v1"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.net", "/example", {}, "v1"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/example", {"Version": "one"}, "v1"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/v2", {}, "v2"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.net", "/v2", {}, "v1"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/v2/example", {}, "v2"),
    ("HTTPRouteMatchingAcrossRoutes", ACROSS_ROUTES, "GET example.com", "/", {"Version": "two"}, "v2"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match/exact/one", {}, "v3"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match/exact", {}, "v2"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match", {}, "v1"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match/prefix/one/any", {}, "v2"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match/prefix/any", {}, "v1"),
    ("HTTPRoutePathMatchOrder", PATH_ORDER, "GET", "/match/any", {}, "v3"),
    ("HTTPRouteExactPathMatching", EXACT, "GET", "/one", {}, "v1"),
    ("HTTPRouteExactPathMatching", EXACT, "GET", "/two", {}, "v2"),
    ("HTTPRouteExactPathMatching", EXACT, "GET", "/one/example", {}, "404"),
    ("HTTPRouteExactPathMatching", EXACT, "GET", "/two/", {}, "404"),
    ("HTTPRouteExactPathMatching", EXACT, "GET", "/Two", {}, "404"),
    ("HTTPRouteSpec.hostnames", HOSTNAMES, "GET very.specific.com", "/", {}, "v1"),
    ("HTTPRouteSpec.hostnames", HOSTNAMES, "GET non.specific.com", "/", {}, "v2"),
    ("HTTPRouteSpec.hostnames", HOSTNAMES, "GET a.b.specific.com", "/", {}, "v2"),
    ("HTTPRouteSpec.hostnames", HOSTNAMES, "GET specific.com", "/", {}, "v3"),
    ("HTTPRouteSpec.hostnames", HOSTNAMES, "GET com", "/", {}, "404"),
]


@pytest.mark.parametrize(
    ("routes", "sender", "target", "headers", "backend"),
    [row[1:] for row in ROWS],
    ids=[f"{row[0]}-{position}" for position, row in enumerate(ROWS)],
)
def test_a_case_of_the_conformance_tests(
    routes: Router, sender: str, target: str, headers: dict[str, str], backend: str
) -> None:
    method, _, host = sender.partition(" ")
    path, _, query = target.partition("?")
    match routes.match(host or "any.example", path, method, Asked(headers, query)):
        case Route(service=service):
            assert service == backend
        case NotFound():
            assert backend == "404"
        case MethodNotAllowed():
            pytest.fail("405")
