"""What the Gateway API's core conformance tests ask of listeners, hosts and backends, against the gateway itself.

Every row is a case of the test that it names (conformance/tests in kubernetes-sigs/gateway-api, v1.6), with a port for
each Gateway. The rows of matching are in `policy/test_gateway_api.py`, those of weights, redirects and rewrites in
`test_forwarding.py`, of edits in `integration/http/test_edits.py`: `CORE` and `EXTENDED` say which there are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dataplane.config.items import Item, ServerCertificate, UnlinkedRoute
from dataplane.gateway.policy.forwarding import Forwarding, Share
from dataplane.gateway.policy.resources import Instance, Listener, Route, Service
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.tls import Chain, Served, names_of
from tests.support.certificates import Authority
from tests.unit.dataplane.gateway.line import Line

BACKENDS: tuple[Item, ...] = tuple(
    item
    for name in ("v1", "v2", "v3", "web")
    for item in (Service(name), Instance(name, "1", "127.0.0.1", 8080))
)
ONE, OTHER, INTERSECTION, ALL, ISOLATION, SECURE = 8001, 8002, 8003, 8004, 8005, 8443
HTTPS = {"": "https", "second-example.org": "https-with-hostname"}
LISTENERS: tuple[Item, ...] = (
    Listener("same-namespace", ONE),
    Listener("all-namespaces", OTHER),
    Listener("listener-1", INTERSECTION, ("very.specific.com",)),
    Listener("listener-2", INTERSECTION, ("*.wildcard.io",)),
    Listener("listener-3", INTERSECTION, ("*.anotherwildcard.io",)),
    Listener("intersection-all", ALL),
    Listener("empty-hostname", ISOLATION),
    Listener("wildcard-example-com", ISOLATION, ("*.example.com",)),
    Listener("wildcard-foo-example-com", ISOLATION, ("*.foo.example.com",)),
    Listener("abc-foo-example-com", ISOLATION, ("abc.foo.example.com",)),
    *(
        Listener(name, SECURE, (host,) if host else (), protocol="https", certificates=("tls",))
        for host, name in HTTPS.items()
    ),
)
SEVERAL = ("listener-1", "listener-2", "listener-3")


def route(name: str, prefix: str, backend: str, listeners: tuple[str, ...], *hosts: str) -> Item:
    """An HTTPRoute; its parents are listeners. Without a backend, its references do not resolve."""
    broken = None if backend else Forwarding(shares=(Share("", 1),))
    made = Route(
        name, backend, prefix=prefix, hosts=hosts, public=True, listeners=listeners, forwarding=broken
    )
    return UnlinkedRoute(made)


BROKEN = (
    "HTTPRouteNoBackendRefs",
    "HTTPRouteInvalidNonExistentBackendRef",
    "HTTPRouteInvalidBackendRefUnknownKind",
    "HTTPRouteInvalidCrossNamespaceBackendRef",
    "HTTPRouteInvalidReferenceGrant",
)
"""Their routes answer 500 (HTTPRouteRule.backendRefs: "must receive a 500 status code")."""
ROUTES: tuple[Item, ...] = (
    route("gateway-conformance-infra-test", "/", "v1", ("same-namespace",)),
    route("cross-namespace", "/", "web", ("all-namespaces",)),
    route("reference-grant", "/reference-grant", "web", ("same-namespace",)),
    *(route(f"broken-{at}", f"/{name.lower()}", "", ("same-namespace",)) for at, name in enumerate(BROKEN)),
    route("s1", "/s1", "v1", SEVERAL, "non.matching.com", "*.nonmatchingwildcard.io", "very.specific.com"),
    route(
        "s2",
        "/s2",
        "v2",
        SEVERAL,
        *("non.matching.com", "wildcard.io", "foo.wildcard.io", "bar.wildcard.io", "foo.bar.wildcard.io"),
    ),
    route("s3", "/s3", "v3", SEVERAL, "non.matching.com", "*.specific.com"),
    route("s4", "/s4", "v1", SEVERAL, "*.anotherwildcard.io"),
    route("s5", "/s5", "v2", SEVERAL, "specific.but.wrong.com", "wildcard.io"),
    route("all", "/", "v2", ("intersection-all",), "first.com", "*.first.com", "second.com", "*.second.com"),
    *(
        route(f"attaches-to-{name}", f"/{name}", "v1", (name,))
        for name in ("empty-hostname", "wildcard-example-com", "wildcard-foo-example-com")
    ),
    route("attaches-to-abc", "/abc-foo-example-com", "v1", ("abc-foo-example-com",)),
    route("https-test", "/", "v1", ("https",), "example.org"),
    route("https-test-no-hostname", "/", "v1", ("https-with-hostname",)),
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    pair = Authority(tmp_path_factory.mktemp("ca")).issue("tls")
    chain = Chain(pair[0].read_bytes(), pair[1].read_bytes())
    certificate = ServerCertificate("tls", Served(chain, names_of(chain)), 0.0)
    return Line(*BACKENDS, certificate, *LISTENERS, *ROUTES)


def isolation() -> list[tuple[str, int, str, str, str]]:
    """Only the listener of the host serves its route; none falls through to another."""
    paths = ("empty-hostname", "wildcard-example-com", "wildcard-foo-example-com", "abc-foo-example-com")
    hosts = ("bar.com", "bar.example.com", "bar.foo.example.com", "abc.foo.example.com")
    return [
        ("GatewayHTTPListenerIsolation", ISOLATION, host, f"/{path}", "v1" if own == path else "404")
        for host, own in zip(hosts, paths, strict=True)
        for path in paths
    ]


ROWS: list[tuple[str, int, str, str, str]] = [
    # Test, port, host, path, backend or status.
    ("HTTPRouteSimpleSameNamespace", ONE, "a.example", "/", "v1"),
    ("HTTPRouteCrossNamespace", OTHER, "a.example", "/", "web"),
    ("HTTPRouteReferenceGrant", ONE, "a.example", "/reference-grant", "web"),
    ("HTTPRouteMultipleGateways", ONE, "a.example", "/any", "v1"),
    ("HTTPRouteMultipleGateways", OTHER, "a.example", "/any", "web"),
    *((name, ONE, "a.example", f"/{name.lower()}", "500") for name in BROKEN),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com", "/s1", "v1"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com:1234", "/s1", "v1"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "non.matching.com", "/s1", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.nonmatchingwildcard.io", "/s1", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.wildcard.io", "/s1", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com", "/non-matching-prefix", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.wildcard.io", "/s2", "v2"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "bar.wildcard.io", "/s2", "v2"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.bar.wildcard.io", "/s2", "v2"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "non.matching.com", "/s2", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "wildcard.io", "/s2", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com", "/s2", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com", "/s3", "v3"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "non.matching.com", "/s3", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.specific.com", "/s3", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.wildcard.io", "/s3", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.anotherwildcard.io", "/s4", "v1"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.bar.anotherwildcard.io", "/s4", "v1"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "anotherwildcard.io", "/s4", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "foo.wildcard.io", "/s4", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "very.specific.com", "/s4", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "specific.but.wrong.com", "/s5", "404"),
    ("HTTPRouteHostnameIntersection", INTERSECTION, "wildcard.io", "/s5", "404"),
    ("HTTPRouteHostnameIntersection", ALL, "first.com", "/", "v2"),
    ("HTTPRouteHostnameIntersection", ALL, "sub.first.com", "/", "v2"),
    ("HTTPRouteHostnameIntersection", ALL, "sub.second.com", "/", "v2"),
    ("HTTPRouteHostnameIntersection", ALL, "third.com", "/", "404"),
    ("HTTPRouteHostnameIntersection", ALL, "sub.third.com", "/", "404"),
    *isolation(),
    ("HTTPRouteHTTPSListener", SECURE, "example.org", "/", "v1"),
    ("HTTPRouteHTTPSListener", SECURE, "second-example.org", "/", "v1"),
    ("HTTPRouteHTTPSListener", SECURE, "unknown-example.org", "/", "404"),
]


def asked(line: Line, port: int, host: str, path: str) -> str:
    """The service that gets a request on a connection for its host, or the status."""
    entrance = Entrance(line.gateway.table.sites[port])
    name = host.partition(":")[0]
    refusal, exchange = line.ask(path, host=host.encode(), entrance=entrance, server_name=name)
    if refusal is not None:
        return str(line.gateway.refuse(exchange, refusal).status)
    assert exchange.plan is not None
    line.end(exchange)
    return exchange.plan.service_name


@pytest.mark.parametrize(
    ("port", "host", "path", "expected"),
    [row[1:] for row in ROWS],
    ids=[f"{row[0]}-{position}" for position, row in enumerate(ROWS)],
)
def test_a_case_of_the_conformance_tests(line: Line, port: int, host: str, path: str, expected: str) -> None:
    assert asked(line, port, host, path) == expected


def test_listeners_come_and_go(line: Line) -> None:
    """GatewayModifyListeners: what others serve does not change. Ports are in `integration/dataplane`."""
    changing = Line(*BACKENDS, Listener("one", ONE), route("r", "/", "v1", ()))
    changing.swap(*BACKENDS, Listener("one", ONE), Listener("two", OTHER), route("r", "/", "v1", ()))
    assert [asked(changing, port, "a.example", "/") for port in (ONE, OTHER)] == ["v1", "v1"]
    changing.swap(*BACKENDS, Listener("two", OTHER), route("r", "/", "v1", ()))
    assert asked(changing, OTHER, "a.example", "/") == "v1" and ONE not in changing.gateway.table.sites


def test_a_share_without_backend_is_an_error() -> None:
    """HTTPRoutePartiallyInvalidViaInvalidReferenceGrant: half of the requests, as the weights say."""
    half = Route(
        "r", "", prefix="/", public=True, forwarding=Forwarding(shares=(Share("v1", 1), Share("", 1)))
    )
    line = Line(*BACKENDS, Listener("one", ONE), UnlinkedRoute(half))
    found = Counter(asked(line, ONE, "a.example", "/") for _ in range(100))
    assert found.keys() == {"v1", "500"} and abs(found["v1"] - 50) <= 1


TESTS = Path(__file__).parents[3]
CORE = (
    *("HTTPRouteSimpleSameNamespace", "HTTPRouteCrossNamespace", "HTTPRouteExactPathMatching"),
    *("HTTPRoutePathMatchOrder", "HTTPRouteHostnameIntersection", "HTTPRouteListenerHostnameMatching"),
    *("HTTPRouteReferenceGrant", "HTTPRouteHeaderMatching", "HTTPRouteMatching"),
    *("HTTPRouteMatchingAcrossRoutes", "HTTPRouteWeight", "HTTPRouteRequestHeaderModifier"),
    *("HTTPRouteRedirectHostAndStatus", *BROKEN, "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant"),
    *("HTTPRouteHTTPSListener", "HTTPRouteMultipleGateways", "GatewayModifyListeners"),
)
"""Core tests that ask something of data planes. HTTPRouteServiceTypes asks it of discovery, the rest of controllers."""
EXTENDED = (
    *("HTTPRouteMethodMatching", "HTTPRouteQueryParamMatching", "HTTPRouteResponseHeaderModifier"),
    *("HTTPRouteRewriteHost", "HTTPRouteRewritePath", "HTTPRouteRedirectScheme", "HTTPRouteRedirectPort"),
    *("HTTPRouteRedirectPath", "HTTPRouteRedirect303", "HTTPRouteRedirect307", "HTTPRouteRedirect308"),
    *("GatewayHTTPListenerIsolation", "HTTPRouteHTTPSListenerDetectMisdirectedRequests"),
)


@pytest.mark.parametrize("name", [*CORE, *EXTENDED])
def test_each_has_rows(name: str) -> None:
    files = (
        *("unit/dataplane/gateway/policy/test_gateway_api.py", "unit/dataplane/gateway/test_forwarding.py"),
        *("unit/dataplane/gateway/policy/test_sites.py", "unit/dataplane/gateway/test_misdirected.py"),
        "integration/http/test_edits.py",
    )
    here = [row[0] for row in ROWS]
    docs = str(test_listeners_come_and_go.__doc__), str(test_a_share_without_backend_is_an_error.__doc__)
    assert name in here or any(
        name in text for text in (*docs, *((TESTS / file).read_text() for file in files))
    )
