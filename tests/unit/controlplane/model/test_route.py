"""Routes: what is accepted, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.resources import parse
from controlplane.model.stored import shown
from tests.unit.controlplane.model.raw_resources import check_accepted, check_refused, complaints, route

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("route", route(prefix="/")),
    ("route", route(prefix="/a.b/~c/x..y/@:,+=!$&'()*")),
    ("route", {"name": "a", "path": "/exact/", "service_name": "a", "rewrite": "/other/"}),
    ("route", route(hosts=["example.org", "*.example.org", "10.0.0.1", "localhost"])),
    ("route", route(methods=["GET", "PROPFIND"], scopes=["orders:read", "a"], timeout=1, max_body_bytes=0)),
    ("route", route(strip_prefix=True, public=True, rate_limits=["few", "more"])),
    ("route", route(upgrades=["websocket", "irc/6.9"])),
    ("route", route(name="a" * 253)),
    ("route", route(mirrors=[{"service_name": "a"}, {"service_name": "b", "percentage": 0.5}])),
    (
        "route",
        route(
            service_name=None,
            services=[{"service_name": "a"}],
            mirrors=[{"service_name": "a", "percentage": 0}],
        ),
    ),
    ("route", route(service_name=None, services=[{"service_name": "a", "weight": 9}, {"weight": 0}])),
    ("route", route(service_name=None, services=[{"service_name": "a"}], sticky={"cookie": "side"})),
    (
        "route",
        route(service_name=None, respond={"status": 503, "body": "Später", "content_type": "text/plain"}),
    ),
    ("route", route(service_name=None, redirect={"scheme": "https", "status": 301})),
    ("route", route(service_name=None, redirect={"prefix": "/new", "host": "a.example", "port": 8443})),
    (
        "route",
        route(
            request_headers={
                "set": {"x-a": "%{claim:https://a.example/t}, 100%"},
                "remove": ["authorization"],
            },
            response_headers={"add": {"x-b": "%{request_id}"}},
        ),
    ),
    (
        "route",
        route(
            cors={
                "allow_origins": ["https://a.example:8443", "https://*.example.org", "http://[::1]:80"],
                "allow_origin_regex": ["https://pr-[0-9]+[.]example[.]org"],
                "allow_methods": ["*"],
                "allow_headers": ["x-a", "*"],
                "allow_credentials": True,
                "max_age": 600,
            }
        ),
    ),
    ("route", route(compression={})),
    ("route", route(authorize_with={"service_name": "auth"})),
    (
        "route",
        route(
            authorize_with={
                "service_name": "auth",
                "path": "/verify",
                "request_headers": ["authorization", "x-key"],
                "to_service": ["authorization", "x-user"],
                "to_client": ["location"],
                "timeout": 0.5,
                "cache_seconds": 30,
                "cache_key": ["x-key"],
                "fail_open": True,
            }
        ),
    ),
    ("route", route(compression={"encodings": ["gzip"], "media_types": ["text/*", "a/b+c"], "min_bytes": 0})),
    ("route", route(allow_addresses=["10.0.0.0/8", "2001:db8::/32"], deny_addresses=["10.0.0.1"])),
    ("route", route(rewrite_full="/x", rewrite_host="inner.example")),
    ("route", route(rewrite_regex={"pattern": "/v([0-9]+)/", "substitution": "/\\1/"})),
    ("route", {"name": "a", "path_regex": "/v[0-9]+/.*", "service_name": "a", "method_miss": 404}),
    (
        "route",
        route(
            headers=[{"name": "x-a", "exact": "a b"}, {"name": "x-b", "regex": "a|b"}],
            query=[{"name": "beta", "present": True}, {"name": "Größe", "exact": "1"}],
        ),
    ),
]


@pytest.mark.parametrize(("kind", "raw"), GOOD)
def test_what_is_right_is_taken_and_survives_being_stored(kind: str, raw: dict[str, Any]) -> None:
    check_accepted(kind, raw)


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"prefix": "/v1/*"}, "prefix", "'*' is an ordinary character"),
        ({"prefix": "/v1(.*)"}, "prefix", "'*' is an ordinary character"),
        ({"path": "/books/:id", "prefix": None}, "path", "':id' is an ordinary segment"),
        ({"prefix": "/v1", "rewrite": "/$2"}, "rewrite", "'$2' is ordinary text"),
        (
            {"cors": {"allow_origins": ["*"], "allow_credentials": True}},
            "cors.allow_credentials",
            "scripts of every origin",
        ),
        (
            {"authorize_with": {"service_name": "a", "fail_open": True}},
            "authorize_with.fail_open",
            "lets every request pass",
        ),
    ],
)
def test_patterns_of_other_gateways_are_warned_of(fields: dict[str, Any], field: str, told: str) -> None:
    given = {name: value for name, value in route(**fields).items() if value is not None}
    [problem] = parse("route", given).warnings()
    assert (problem.field, told in problem.detail) == (field, True)


@pytest.mark.parametrize(
    "fields", [{"prefix": "/a:b/@/c$"}, {"prefix": "/:"}, {"prefix": "/v1", "rewrite": "/$x"}]
)
def test_ordinary_paths_are_not_warned_of(fields: dict[str, Any]) -> None:
    assert not list(parse("route", route(**fields)).warnings())


BAD: list[tuple[str, object, str, str]] = [
    # kind, raw, field, a part of what is said of it
    ("route", {"name": "a", "service_name": "a"}, "prefix", "is required, or path"),
    ("route", route(path="/x"), "path", "must not be given together with prefix"),
    ("route", route(prefix="orders"), "prefix", "must start with '/'"),
    ("route", route(prefix=""), "prefix", "must start with '/'"),
    ("route", route(prefix="/orders/"), "prefix", "'/orders' matches whole path segments"),
    ("route", route(prefix="//"), "prefix", "must not contain '//'"),
    ("route", route(prefix="/a//b"), "prefix", "must not contain '//'"),
    ("route", route(prefix="/a/../b"), "prefix", "must not contain the segments '.' and '..'"),
    ("route", route(prefix="/a/."), "prefix", "must not contain the segments '.' and '..'"),
    ("route", route(prefix="/a%2fb"), "prefix", "must not contain '%2f'"),
    ("route", route(prefix="/a%3B"), "prefix", "must not contain '%3B'"),
    ("route", route(prefix="/a%2524"), "prefix", "must not contain '%2524'"),
    ("route", route(prefix="/a%2"), "prefix", "must contain only characters"),
    ("route", route(prefix="/{a}"), "prefix", "must contain only characters"),
    ("route", route(prefix="/%24admin"), "prefix", "must be written '/$admin'"),
    ("route", route(prefix="/caf%c3%a9"), "prefix", "must be written '/caf%C3%A9'"),
    ("route", route(prefix="/a/%2e%2E/b"), "prefix", "must be written '/a/../b'"),
    ("route", route(prefix="/a?b"), "prefix", "must not contain a query ('?')"),
    ("route", route(prefix="/a;b"), "prefix", "must not contain parameters (';')"),
    ("route", route(prefix="/a#b"), "prefix", "must not contain a fragment ('#')"),
    ("route", route(prefix="/a b"), "prefix", "must contain only characters"),
    ("route", route(prefix="/é"), "prefix", "must contain only characters"),
    ("route", route(prefix="/a\\b"), "prefix", "must contain only characters"),
    ("route", route(prefix="/a\n"), "prefix", "must contain only characters"),
    ("route", route(prefix="/" + "a" * 1024), "prefix", "must have at most 1024 characters"),
    ("route", route(rewrite="x"), "rewrite", "must start with '/'"),
    (
        "route",
        route(strip_prefix=True, rewrite="/x"),
        "rewrite",
        "must not be given together with strip_prefix",
    ),
    (
        "route",
        {"name": "a", "path": "/x", "service_name": "a", "strip_prefix": True},
        "strip_prefix",
        "needs a prefix",
    ),
    ("route", route(public=True, scopes=["a"]), "scopes", "must be empty on a public route"),
    ("route", route(public="yes"), "public", "must be true or false, not a string"),
    ("route", route(hosts=["Example.org"]), "hosts[0]", "must be in lower case"),
    ("route", route(hosts=["example.org:80"]), "hosts[0]", "host name without port"),
    ("route", route(hosts=["*"]), "hosts[0]", "host name without port"),
    ("route", route(hosts=["a.*.b"]), "hosts[0]", "host name without port"),
    ("route", route(hosts=[""]), "hosts[0]", "host name without port"),
    ("route", route(hosts=["a..b"]), "hosts[0]", "host name without port"),
    ("route", route(hosts="example.org"), "hosts", "must be a list, not a string"),
    ("route", route(methods=["get"]), "methods[0]", "must be a method that the gateway serves: GET, HEAD"),
    *(
        ("route", route(methods=["GET", method]), "methods[1]", "must be a method that the gateway serves")
        for method in ("GE T", "CONNECT", "TRACE", "FOO")
    ),
    ("route", route(methods=["GET", "GET"]), "methods", "'GET' is there twice"),
    ("route", route(scopes=["a", "a"]), "scopes", "'a' is there twice"),
    ("route", route(scopes=[1]), "scopes[0]", "must be a string, not a number"),
    ("route", route(scopes=["a b"]), "scopes[0]", "'-' or ':'"),
    ("route", route(scopes=[f"s{i}" for i in range(65)]), "scopes", "must have at most 64 entries"),
    ("route", route(timeout=0), "timeout", "must be at least 0.01"),
    ("route", route(max_body_bytes=-1), "max_body_bytes", "must be at least 0"),
    ("route", route(upgrades="websocket"), "upgrades", "must be a list, not a string"),
    ("route", route(upgrades=["WebSocket"]), "upgrades[0]", "the name of a protocol in lower case"),
    ("route", route(upgrades=["a b"]), "upgrades[0]", "the name of a protocol"),
    ("route", route(upgrades=["a\r\nb"]), "upgrades[0]", "the name of a protocol"),
    ("route", route(upgrades=[""]), "upgrades[0]", "the name of a protocol"),
    ("route", route(upgrades=["websocket", "websocket"]), "upgrades", "is there twice"),
    ("route", route(upgrades=["h2c"]), "upgrades[0]", "requests would bypass the checks of the gateway"),
    ("route", route(upgrades=["http/2.0"]), "upgrades[0]", "requests would bypass the checks of the gateway"),
    ("route", route(upgrades=["tls/1.2"]), "upgrades[0]", "requests would bypass the checks of the gateway"),
    ("route", route(headers={"a": "b"}), "headers", "must be a list, not an object"),
    ("route", route(headers=[{"name": "x-a"}]), "headers[0]", "must have exactly one of exact, regex"),
    (
        "route",
        route(headers=[{"name": "x-a", "exact": "a", "present": True}]),
        "headers[0]",
        "must have exactly one of exact, regex",
    ),
    ("route", route(headers=[{"name": "X-A", "exact": "a"}]), "headers[0].name", "in lower case"),
    (
        "route",
        route(headers=[{"name": "x-a", "exact": " a"}]),
        "headers[0].exact",
        "visible ASCII characters",
    ),
    ("route", route(headers=[{"name": "x-a", "exact": ""}]), "headers[0].exact", "must have at least 1"),
    ("route", route(headers=[{"name": "x-a", "present": False}]), "headers[0].present", "must be True"),
    ("route", route(headers=[{"name": "x-a", "regex": "("}]), "headers[0].regex", "missing )"),
    (
        "route",
        route(headers=[{"name": "x-a", "regex": "(a)\\1"}]),
        "headers[0].regex",
        "invalid escape sequence",
    ),
    (
        "route",
        route(headers=[{"name": "x-auth-subject", "exact": "a"}]),
        "headers[0].name",
        "the gateway sets",
    ),
    ("route", route(query=[{"name": "", "exact": "a"}]), "query[0].name", "1 to 256 characters"),
    ("route", route(method_miss=403), "method_miss", "must be at least 404"),
    ("route", route(path_regex="/x"), "path_regex", "must not be given together with prefix"),
    ("route", route(prefix=None, path_regex="/(x"), "path_regex", "is not a regular expression of RE2"),
    ("route", route(name="a" * 254), "name", "1 to 253 lower-case letters"),
    (
        "route",
        route(cors={"allow_origins": ["a.example"]}),
        "cors.allow_origins[0]",
        "an origin in lower case",
    ),
    (
        "route",
        route(cors={"allow_origins": ["https://a.example/"]}),
        "cors.allow_origins[0]",
        "without a path",
    ),
    ("route", route(cors={"allow_origins": ["https://a.*.example"]}), "cors.allow_origins[0]", "an origin"),
    ("route", route(cors={"allow_origin_regex": ["("]}), "cors.allow_origin_regex[0]", "of RE2"),
    ("route", route(cors={"allow_methods": ["get"]}), "cors.allow_methods[0]", "must be * or a method"),
    ("route", route(cors={"allow_headers": ["X-A"]}), "cors.allow_headers[0]", "in lower case"),
    ("route", route(cors={"max_age": -1}), "cors.max_age", "must be at least 0"),
    ("route", route(allow_addresses=["10.0.0.1/8"]), "allow_addresses[0]", "must be written 10.0.0.0/8"),
    (
        "route",
        route(deny_addresses=["example.org"]),
        "deny_addresses[0]",
        "must be an IP address or a network",
    ),
    ("route", route(authorize_with={}), "authorize_with.service_name", "is required"),
    (
        "route",
        route(authorize_with={"service_name": "a", "path": "x"}),
        "authorize_with.path",
        "must start with '/'",
    ),
    (
        "route",
        route(authorize_with={"service_name": "a", "timeout": 6}),
        "authorize_with.timeout",
        "must be at most 5",
    ),
    (
        "route",
        route(authorize_with={"service_name": "a", "to_service": ["x-auth-subject"]}),
        "authorize_with.to_service[0]",
        "the gateway writes this field",
    ),
    (
        "route",
        route(authorize_with={"service_name": "a", "to_client": ["x-a", "content-length"]}),
        "authorize_with.to_client[1]",
        "the gateway writes this field",
    ),
    (
        "route",
        route(authorize_with={"service_name": "a", "request_headers": [], "cache_key": ["cookie"]}),
        "authorize_with.cache_key[0]",
        "must be in request_headers",
    ),
    (
        "route",
        route(authorize_with={"service_name": "a", "cache_key": ["x-key"]}),
        "authorize_with.cache_key[0]",
        "does not see 'x-key'",
    ),
    ("route", route(compression={"encodings": []}), "compression.encodings", "at least 1"),
    (
        "route",
        route(compression={"encodings": ["deflate"]}),
        "compression.encodings[0]",
        "must be 'zstd', 'br' or 'gzip'",
    ),
    (
        "route",
        route(compression={"encodings": ["br", "br"]}),
        "compression.encodings",
        "is there twice",
    ),
    (
        "route",
        route(compression={"media_types": ["text/html; charset=utf-8"]}),
        "compression.media_types[0]",
        "without parameters",
    ),
    (
        "route",
        route(compression={"media_types": ["*/*"]}),
        "compression.media_types[0]",
        "a media type in lower case",
    ),
    (
        "route",
        route(compression={"media_types": ["application/grpc+proto"]}),
        "compression.media_types[0]",
        "is never compressed",
    ),
    ("route", route(compression={"min_bytes": -1}), "compression.min_bytes", "must be at least 0"),
    ("route", route(request_headers=5), "request_headers", "must be an object, not a number"),
    ("route", route(request_headers={"set": {"X-A": "1"}}), "request_headers.set.X-A", "in lower case"),
    ("route", route(request_headers={"set": {"x-a": "a\r\nb"}}), "request_headers.set.x-a", "visible ASCII"),
    (
        "route",
        route(request_headers={"set": {"x-a": "%{user}"}}),
        "request_headers.set.x-a",
        "the variable 'user'",
    ),
    ("route", route(request_headers={"add": {"x-a": "%{route"}}), "request_headers.add.x-a", "without }"),
    ("route", route(request_headers={"remove": ["host"]}), "request_headers.remove", "the gateway writes"),
    ("route", route(response_headers={"set": {"date": "x"}}), "response_headers.set", "the gateway writes"),
    ("route", route(service_name=[{"a": 9}]), "service_name", "must be a string, not a list"),
    ("route", route(service_name=None), "service_name", "is required, or services, respond or redirect"),
    (
        "route",
        route(services=[{"service_name": "a"}]),
        "services",
        "must not be given together with service_name",
    ),
    ("route", route(respond={}), "respond", "must not be given together with service_name"),
    (
        "route",
        route(service_name=None, services=[{"weight": -1}]),
        "services[0].weight",
        "must be at least 0",
    ),
    ("route", route(sticky={"cookie": "a"}), "sticky", "needs services"),
    (
        "route",
        route(service_name=None, services=[{}], sticky={}),
        "sticky",
        "must have exactly one of cookie and header",
    ),
    (
        "route",
        route(service_name=None, services=[{}], sticky={"cookie": "a;b"}),
        "sticky.cookie",
        "the name of a cookie",
    ),
    ("route", route(service_name=None, respond={"status": 101}), "respond.status", "must be at least 200"),
    (
        "route",
        route(service_name=None, respond={"status": 204, "body": "x"}),
        "respond.body",
        "a 204 has no content",
    ),
    (
        "route",
        route(service_name=None, respond={"content_type": "a\r\nb"}),
        "respond.content_type",
        "visible ASCII",
    ),
    ("route", route(service_name=None, redirect={"status": 301}), "redirect", "must change something"),
    (
        "route",
        route(service_name=None, redirect={"scheme": "https", "status": 300}),
        "redirect.status",
        "must be 301, 302, 303, 307 or 308",
    ),
    (
        "route",
        route(service_name=None, redirect={"scheme": "ftp"}),
        "redirect.scheme",
        "must be 'http' or 'https'",
    ),
    (
        "route",
        route(service_name=None, redirect={"path": "/a", "prefix": "/b"}),
        "redirect.prefix",
        "must not be given together with path",
    ),
    (
        "route",
        route(service_name=None, prefix=None, path="/a", redirect={"prefix": "/b"}),
        "redirect.prefix",
        "needs a route with a prefix",
    ),
    *(
        (
            "route",
            route(service_name=None, **own, **{name: value}),
            name,
            f"needs a service, but the route has {kind}",
        )
        for kind, own in (("redirect", {"redirect": {"host": "b.example"}}), ("respond", {"respond": {}}))
        for name, value in (
            ("strip_prefix", True),
            ("rewrite", "/a"),
            ("rewrite_full", "/a"),
            ("rewrite_regex", {"pattern": "a", "substitution": "b"}),
            ("rewrite_host", "a.example"),
            ("request_headers", {"remove": ["x-a"]}),
            ("timeout", 1.0),
            ("upgrades", ["websocket"]),
        )
    ),
    (
        "route",
        route(rewrite="/a", rewrite_full="/b"),
        "rewrite_full",
        "must not be given together with rewrite",
    ),
    ("route", route(rewrite_host="a:80"), "rewrite_host", "must be a host name"),
    ("route", route(mirrors=[{"percentage": 5}]), "mirrors[0].service_name", "is required"),
    (
        "route",
        route(mirrors=[{"service_name": "a", "percentage": 100.5}]),
        "mirrors[0].percentage",
        "must be at most 100",
    ),
    (
        "route",
        route(service_name=None, respond={"status": 200}, mirrors=[{"service_name": "a"}]),
        "mirrors",
        "must not be given together with respond: only forwarded requests are copied",
    ),
    ("route", route(mirrors=[{"service_name": "a"}] * 2), "mirrors", "is there twice"),
    (
        "route",
        route(rewrite_regex={"pattern": "/(a)", "substitution": "\\2"}),
        "rewrite_regex.substitution",
        "must not refer to \\2: the pattern has 1 groups",
    ),
    (
        "route",
        route(rewrite_regex={"pattern": "a", "substitution": "?"}),
        "rewrite_regex.substitution",
        "characters of a path",
    ),
    *(
        (
            "route",
            route(rewrite_regex={"pattern": pattern, "substitution": "x"}),
            "rewrite_regex.pattern",
            "must not match the empty text",
        )
        for pattern in ("()", "a*", "|b")
    ),
    (
        "route",
        route(rewrite_regex={"pattern": "", "substitution": "x"}),
        "rewrite_regex.pattern",
        "must not match the empty text",
    ),
    (
        "route",
        route(prefix=None, path_regex="(?:.?){900}x"),
        "path_regex",
        "its program has 8105 instructions, more than 1024",
    ),
]


@pytest.mark.parametrize(("kind", "raw", "field", "detail"), BAD)
def test_what_is_wrong_is_told_with_its_field(kind: str, raw: object, field: str, detail: str) -> None:
    check_refused(kind, raw, field, detail)


def test_a_route_has_the_contract_s_defaults() -> None:
    made = parse("route", route())
    assert shown(made) == {
        "name": "orders",
        "prefix": "/orders",
        "path": None,
        "path_regex": None,
        "hosts": [],
        "methods": [],
        "headers": [],
        "query": [],
        "method_miss": 405,
        "service_name": "orders",
        "services": [],
        "sticky": None,
        "respond": None,
        "redirect": None,
        "scopes": [],
        "public": False,
        "strip_prefix": False,
        "rewrite": None,
        "rewrite_full": None,
        "rewrite_regex": None,
        "rewrite_host": None,
        "cors": None,
        "allow_addresses": [],
        "deny_addresses": [],
        "authorize_with": None,
        "request_headers": None,
        "response_headers": None,
        "compression": None,
        "rate_limits": [],
        "timeout": None,
        "request_timeout": None,
        "try_timeout": None,
        "retries": None,
        "mirrors": [],
        "max_body_bytes": 10 * 1024 * 1024,
        "upgrades": [],
        "listeners": [],
        "pools": [],
        "trace_sampling": None,
        "description": "",
        "labels": {},
    }


def test_everything_is_told_at_once_across_fields_and_levels() -> None:
    raw = route(
        path="y", methods=["get"], public=True, scopes=["A"], hosts=5, headers=1, nonsense=2, timeout="1"
    )
    assert set(complaints("route", raw)) == {
        "path",
        "methods[0]",
        "scopes",
        "scopes[0]",
        "hosts",
        "headers",
        "nonsense",
        "timeout",
    }
