"""Single resources: what is taken, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import KINDS, Instance, Route, Service, User, documents, parse
from controlplane.model.stored import encode, shown

PHC = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"

AUTHORITY = """-----BEGIN CERTIFICATE-----
MIHdMIGQoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMMAmNhMCAXDTIwMDEwMTAw
MDAwMFoYDzIxMDAwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJjYTAqMAUGAytlcAMh
ADrLGEmqO1Pqie0Unioyigq4r0+MfKlu6l0U/5K65R6hoxMwETAPBgNVHRMBAf8E
BTADAQH/MAUGAytlcANBAK0Pk4lTCa8i4nZiICZEmBXgGCXyi/U2KagyV3V/dV4m
Jt0W7KfRWFMkbU66zdgdFReOfQ9xQ+BBKeBMXlMI0g0=
-----END CERTIFICATE-----
"""
BROKEN = AUTHORITY.replace("MIH", "AAA")
KEY = AUTHORITY + "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n"


def complaints(kind: str, raw: object) -> dict[str, str]:
    """What is wrong, by field; the last one where a field has several."""
    with pytest.raises(InvalidConfig) as caught:
        parse(kind, raw)
    return {problem.field: problem.detail for problem in caught.value.problems}


def service(**fields: Any) -> dict[str, Any]:
    return {"service_name": "orders", **fields}


def route(**fields: Any) -> dict[str, Any]:
    return {"name": "orders", "prefix": "/orders", "service_name": "orders", **fields}


def limit(**fields: Any) -> dict[str, Any]:
    return {"name": "few", "per_second": 1, "burst": 1, **fields}


def test_kinds_have_their_names_of_the_contract() -> None:
    assert set(KINDS) == {"service", "instance", "route", "scope", "user", "rate_limit", "issuer"}
    assert set(documents()) == {"services", "routes", "scopes", "users", "rate_limits", "issuers"}


def test_a_service_needs_only_a_name_and_has_the_contract_s_defaults() -> None:
    made = parse("service", service())
    assert shown(made) == {
        "service_name": "orders",
        "check_path": "/health",
        "check_interval": 30,
        "check_timeout": 5,
        "healthy_threshold": 2,
        "unhealthy_threshold": 3,
        "load_balancer": "round_robin",
        "circuit": {
            "failure_threshold": 5,
            "failure_ratio": 0.5,
            "failure_window": 60,
            "min_throughput": 2,
            "recovery_timeout": 30,
            "half_open_timeout": 10,
            "half_open_requests": 1,
        },
        "timeouts": {"connect": 5, "response": 15, "idle": 300, "total": 0},
        "retries": {"attempts": 1, "on": ["connect"], "budget": 0.2},
        "max_in_flight": None,
        "tls": None,
        "instances": [],
    }


def test_a_route_has_the_contract_s_defaults() -> None:
    made = parse("route", route())
    assert shown(made) == {
        "name": "orders",
        "prefix": "/orders",
        "path": None,
        "hosts": [],
        "methods": [],
        "service_name": "orders",
        "scopes": [],
        "public": False,
        "strip_prefix": False,
        "rewrite": None,
        "rate_limits": [],
        "timeout": None,
        "max_body_bytes": 10 * 1024 * 1024,
        "upgrades": [],
    }


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("service", service(load_balancer="least_request", retries={"attempts": 0, "on": []})),
    ("service", service(load_balancer="ip_hash", circuit={"failure_ratio": 0})),
    ("service", service(instances=[{"instance_id": "a", "host": "::1", "port": 1}])),
    (
        "service",
        service(instances=[{"instance_id": "a", "host": "orders.internal", "port": 65535, "weight": 1000}]),
    ),
    ("service", service(service_name="a" * 63)),
    (
        "instance",
        {"service_name": "a", "instance_id": "0", "host": "10.0.0.1", "port": 80, "metadata": {"zone": "b"}},
    ),
    ("route", route(prefix="/")),
    ("route", route(prefix="/a.b/~c/x..y/@:,+=!$&'()*")),
    ("route", {"name": "a", "path": "/exact/", "service_name": "a", "rewrite": "/other/"}),
    ("route", route(hosts=["example.org", "*.example.org", "10.0.0.1", "localhost"])),
    ("route", route(methods=["GET", "PROPFIND"], scopes=["orders:read", "a"], timeout=1, max_body_bytes=0)),
    ("route", route(strip_prefix=True, public=True, rate_limits=["few", "more"])),
    ("route", route(upgrades=["websocket", "irc/6.9"])),
    ("service", service(tls={})),
    ("service", service(tls={"enabled": False, "server_name": "orders.internal", "ca": AUTHORITY})),
    ("service", service(tls={"ca": AUTHORITY * 2})),
    ("scope", {"name": "orders:read", "description": "Läsen ✓"}),
    ("user", {"username": "First.Last@example-1"}),
    ("user", {"username": "u", "password": "testpass", "scopes": ["a"], "disabled": True}),
    ("user", {"username": "u", "password_hash": PHC}),
    ("rate_limit", limit(per_second=0.5, key="header", header="x-client")),
    ("rate_limit", limit(key="subject", mode="local", on_store_failure="open")),
    ("rate_limit", limit(key="route")),
    ("rate_limit", limit(key="api_key", advertise=True, enforce="shadow")),
    (
        "rate_limit",
        limit(key=["address", "header:x-client", "claim:https://example.org/plan"], enforce="25%"),
    ),
    ("rate_limit", {"name": "a", "requests": 1000, "per": "day"}),
    (
        "rate_limit",
        {"name": "a", "requests": 60, "per": "minute", "burst": 10, "cost": 5, "cost_header": "x-cost"},
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "key": "claim:plan"}),
    ("rate_limit", limit(max_concurrent=3, address_prefix=48)),
    ("service", service(max_in_flight=100)),
]


@pytest.mark.parametrize(("kind", "raw"), GOOD)
def test_what_is_right_is_taken_and_survives_being_stored(kind: str, raw: dict[str, Any]) -> None:
    made = parse(kind, raw)
    for field, value in raw.items():
        if "password" not in field:
            assert shown(made)[field] == value or isinstance(value, dict | list)
    if kind != "user":
        assert parse(kind, shown(made)) == made


BAD: list[tuple[str, object, str, str]] = [
    # kind, raw, field, a part of what is said of it
    ("service", [], "", "must be an object, not a list"),
    ("service", None, "", "must be an object, not nothing"),
    ("service", {}, "service_name", "is required"),
    ("service", service(service_name=""), "service_name", "1 to 63 lower-case letters"),
    ("service", service(service_name="a" * 64), "service_name", "1 to 63 lower-case letters"),
    # The data plane's built-in resources have such names.
    ("service", service(service_name="headgate:status"), "service_name", "1 to 63 lower-case letters"),
    ("service", service(service_name="Orders"), "service_name", "lower-case"),
    ("service", service(service_name="a/b"), "service_name", "lower-case"),
    ("service", service(service_name="a\n"), "service_name", "lower-case"),
    ("service", service(service_name="-a"), "service_name", "letter or digit at both ends"),
    ("service", service(service_name=7), "service_name", "must be a string, not a number"),
    ("service", service(chek_path="/"), "chek_path", "unknown field; did you mean 'check_path'?"),
    ("service", service(zzz=1), "zzz", "unknown field"),
    ("service", service(check_interval="30"), "check_interval", "must be a number, not a string"),
    ("service", service(check_interval=True), "check_interval", "must be a number, not true or false"),
    ("service", service(check_interval=0), "check_interval", "must be at least 0.1"),
    ("service", service(check_interval=float("inf")), "check_interval", "must be a finite number"),
    ("service", service(check_interval=float("nan")), "check_interval", "must be a finite number"),
    (
        "service",
        service(check_interval=10**400),
        "check_interval",
        "must be a number, not a number that large",
    ),
    ("service", service(healthy_threshold=2.5), "healthy_threshold", "must be a whole number"),
    ("service", service(healthy_threshold=0), "healthy_threshold", "must be at least 1"),
    ("service", service(healthy_threshold=10**30), "healthy_threshold", "must be at most 100"),
    ("service", service(check_path="health"), "check_path", "must start with '/'"),
    (
        "service",
        service(load_balancer="random"),
        "load_balancer",
        "'round_robin', 'least_request' or 'ip_hash'",
    ),
    ("service", service(circuit=None), "circuit", "must be an object, not nothing"),
    ("service", service(circuit={"failure_ratio": 1.1}), "circuit.failure_ratio", "must be at most 1"),
    ("service", service(circuit={"threshold": 1}), "circuit.threshold", "unknown field"),
    ("service", service(timeouts={"connect": -1}), "timeouts.connect", "must be at least 0.01"),
    ("service", service(retries={"attempts": 4}), "retries.attempts", "must be at most 3"),
    ("service", service(retries={"budget": 1.1}), "retries.budget", "must be at most 1"),
    ("service", service(retries={"budget": "20%"}), "retries.budget", "must be a number, not a string"),
    (
        "service",
        service(retries={"on": ["connect", 404]}),
        "retries.on[1]",
        "must be 'connect', 'reset', 'timeout', 500, 502, 503 or 504",
    ),
    ("service", service(retries={"on": [503, "503"]}), "retries.on", "503"),
    (
        "service",
        service(retries={"on": ["sunshine"]}),
        "retries.on[0]",
        "must be 'connect', 'reset', 'timeout', 500, 502, 503 or 504",
    ),
    ("service", service(retries={"on": [16**5000]}), "retries.on[0]", "integer"),
    ("service", service(timeouts={"total": -1}), "timeouts.total", "must be at least 0"),
    ("service", service(retries={"on": "connect"}), "retries.on", "must be a list, not a string"),
    ("service", service(instances={}), "instances", "must be a list, not an object"),
    ("service", service(instances=["a:80"]), "instances[0]", "must be an object, not a string"),
    (
        "service",
        service(instances=[{"instance_id": "a", "host": "h", "port": 1}] * 2),
        "instances[1].instance_id",
        "'a' is there twice",
    ),
    (
        "service",
        service(instances=[{"instance_id": str(i), "host": "h", "port": 1} for i in range(257)]),
        "instances",
        "must have at most 256 entries",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": "80"},
        "port",
        "not a string",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "h", "port": 0}, "port", "at least 1"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 65536},
        "port",
        "at most 65535",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h:80", "port": 80},
        "host",
        "without port",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "[::1]", "port": 80}, "host", "brackets"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "1.2.3", "port": 80},
        "host",
        "IP address",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "256.1.1.1", "port": 80},
        "host",
        "IP address",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "*.b", "port": 80}, "host", "IP address"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "weight": 0},
        "weight",
        "at least",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "metadata": {"a b": "c"}},
        "metadata.a b",
        "1 to 63 letters",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "metadata": {"a": 1}},
        "metadata.a",
        "must be a string",
    ),
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
    ("route", route(upgrades=["h2c"]), "upgrades[0]", "requests would pass the gateway unseen"),
    ("route", route(upgrades=["http/2.0"]), "upgrades[0]", "requests would pass the gateway unseen"),
    ("route", route(upgrades=["tls/1.2"]), "upgrades[0]", "requests would pass the gateway unseen"),
    ("service", service(tls=True), "tls", "must be an object"),
    ("service", service(tls={"verify": False}), "tls.verify", "unknown field"),
    ("service", service(tls={"server_name": "A.example"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"server_name": "*.example"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"server_name": "10.0.0.1"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"ca": "/etc/ca.pem"}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": ""}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": AUTHORITY + "é"}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": BROKEN}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": KEY}), "tls.ca", "there is a private key in it"),
    ("route", route(headers={"a": "b"}), "headers", "matching by header is not built yet"),
    ("route", route(request_headers={}), "request_headers", "is not built yet"),
    ("route", route(response_headers={}), "response_headers", "is not built yet"),
    ("route", route(service_name=[{"a": 9}]), "service_name", "a weighted list of services is not built yet"),
    ("route", route(service_name=None), "service_name", "must be a string, not nothing"),
    ("scope", {"name": "a", "description": "x" * 501}, "description", "must have at most 500 characters"),
    ("scope", {"name": "a", "description": "\ud800"}, "description", "must be text that UTF-8 can hold"),
    ("scope", {"name": "a", 3: 4}, "[3]", "names that are strings"),
    ("user", {"username": "a b"}, "username", "1 to 64 letters"),
    ("user", {"username": "a/b"}, "username", "1 to 64 letters"),
    ("user", {"username": "u", "password": "short"}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": ""}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": "x" * 129}, "password", "must have 8 to 128 characters"),
    ("user", {"username": "u", "password": 12345678}, "password", "must be a string, not a number"),
    ("user", {"username": "u", "password_hash": "testpass"}, "password_hash", "argon2id hash in PHC form"),
    ("user", {"username": "u", "password_hash": ""}, "password_hash", "argon2id hash in PHC form"),
    ("user", {"username": "u", "password_hash": PHC.replace("2id", "2i")}, "password_hash", "argon2id hash"),
    (
        "user",
        {"username": "u", "password_hash": PHC.replace("65536", "4194304")},
        "password_hash",
        "m of at most",
    ),
    ("user", {"username": "u", "password_hash": PHC.replace("t=3", "t=99")}, "password_hash", "t of at most"),
    ("user", {"username": "u", "password_hash": PHC + "\n"}, "password_hash", "argon2id hash"),
    (
        "user",
        {"username": "u", "password_hash": PHC, "password": "testpass"},
        "password_hash",
        "together with",
    ),
    ("rate_limit", {"name": "a"}, "per_second", "is required"),
    ("rate_limit", {"name": "a", "per_second": 1}, "burst", "is required"),
    ("rate_limit", limit(per_second=0), "per_second", "must be at least 0.001"),
    ("rate_limit", limit(burst=1.5), "burst", "must be a whole number"),
    ("rate_limit", limit(key="ip"), "key", "must be 'address', 'subject', 'api_key', 'route', 'header'"),
    ("rate_limit", limit(key=["address", "claim:"]), "key", "'claim:<name>', not 'claim:'"),
    ("rate_limit", limit(key="claim:a,b"), "key", "'claim:<name>', not 'claim:a,b'"),
    ("rate_limit", limit(key="header:X-Client"), "key", "'header:<name>'"),
    ("rate_limit", limit(key=[]), "key", "must have 1 to 4 parts"),
    (
        "rate_limit",
        limit(key=["claim:a", "claim:b", "claim:c", "claim:d", "route"]),
        "key",
        "must have 1 to 4",
    ),
    ("rate_limit", limit(key=["route", "route"]), "key", "'route' is there twice"),
    ("rate_limit", limit(key=["route", "header"]), "header", "is required when key is header"),
    ("rate_limit", limit(address_prefix=0), "address_prefix", "must be at least 1"),
    ("rate_limit", limit(address_prefix=129), "address_prefix", "must be at most 128"),
    ("rate_limit", limit(requests=1), "requests", "must not be given together with per_second"),
    ("rate_limit", limit(per="day"), "per", "must not be given together with per_second"),
    ("rate_limit", {"name": "a", "requests": 5}, "per", "is required together with requests"),
    ("rate_limit", {"name": "a", "per": "day"}, "requests", "is required together with per"),
    (
        "rate_limit",
        {"name": "a", "requests": 5, "per": "week"},
        "per",
        "must be 'second', 'minute', 'hour' or 'day'",
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "burst": 1}, "burst", "has no meaning without a rate"),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "cost": 2}, "cost", "has no meaning without a rate"),
    (
        "rate_limit",
        {"name": "a", "max_concurrent": 5, "cost_header": "x"},
        "cost_header",
        "has no meaning without",
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 0}, "max_concurrent", "must be at least 1"),
    ("rate_limit", limit(cost=2), "cost", "must be at most the burst of 1"),
    ("rate_limit", limit(cost=0), "cost", "must be at least 1"),
    ("rate_limit", {"name": "a", "requests": 5, "per": "day", "cost": 6}, "cost", "at most the burst of 5"),
    ("rate_limit", limit(cost_header="X-Cost"), "cost_header", "in lower case"),
    (
        "rate_limit",
        limit(cost_header="content-length"),
        "cost_header",
        "must be a field of the service's own",
    ),
    ("rate_limit", limit(enforce="off"), "enforce", "on, shadow, or a share of the keys"),
    ("rate_limit", limit(enforce="101%"), "enforce", "on, shadow, or a share of the keys"),
    ("rate_limit", limit(without_owner="strict"), "without_owner", "'strict' is not built yet"),
    ("service", service(max_in_flight=0), "max_in_flight", "must be at least 1"),
    ("rate_limit", limit(mode="redis"), "mode", "'redis' is not built yet"),
    ("rate_limit", limit(mode="fleet"), "mode", "'fleet' is not built yet"),
    ("rate_limit", limit(mode="global"), "mode", "must be 'local'"),
    ("rate_limit", limit(on_store_failure="closed"), "on_store_failure", "is not built yet"),
    ("rate_limit", limit(key="header"), "header", "is required when key is header"),
    ("rate_limit", limit(header="x-client"), "header", "has no meaning unless"),
    ("rate_limit", limit(key="header", header="X-Client"), "header", "in lower case"),
    ("issuer", {"issuer": "https://example.org"}, "", "trusting outside issuers is not built yet"),
    ("issuer", 5, "", "trusting outside issuers is not built yet"),
]


@pytest.mark.parametrize(("kind", "raw", "field", "detail"), BAD)
def test_what_is_wrong_is_told_with_its_field(kind: str, raw: object, field: str, detail: str) -> None:
    found = complaints(kind, raw)
    assert detail in found.get(field, ""), found


def test_one_wrong_field_is_one_problem() -> None:
    """What is not built yet stands alone on its field, and nothing is told twice."""
    for kind, raw, _, _ in BAD:
        with pytest.raises(InvalidConfig) as caught:
            parse(kind, raw)
        said = [str(problem) for problem in caught.value.problems]
        assert len(said) == len(set(said))
        if any("not built yet" in text for text in said):
            assert len(said) == 1


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


def test_yaml_s_on_is_understood_though_yaml_reads_it_as_true() -> None:
    made = parse("service", service(retries={True: ["connect"], "attempts": 2}))
    assert isinstance(made, Service)
    assert made.retries.on == ("connect",)
    assert "retries.on[0]" in complaints("service", service(retries={True: ["rest"]}))


def test_a_status_to_retry_on_may_be_quoted() -> None:
    made = parse("service", service(retries={"on": ["reset", "503", 504]}))
    assert isinstance(made, Service)
    assert made.retries.on == ("reset", 503, 504)


def test_a_problem_never_shows_a_password() -> None:
    for raw in ({"username": "u", "password": "hunter2"}, {"username": "u", "password_hash": "hunter2"}):
        assert "hunter2" not in str(complaints("user", raw))


def test_a_password_is_neither_shown_nor_stored_nor_printed() -> None:
    user = parse("user", {"username": "u", "password": "testpass", "disabled": True})
    assert isinstance(user, User)
    assert "testpass" not in f"{user!r} {user} {user.model_dump()} {user.model_dump_json()}"
    assert shown(user) == {"username": "u", "scopes": [], "disabled": True}
    assert b"testpass" not in encode(user)


def test_resources_do_not_change() -> None:
    made = parse("route", route())
    with pytest.raises(ValueError, match="frozen"):
        made.name = "other"  # type: ignore[misc]


def test_names() -> None:
    assert parse("route", route()).name == "orders"
    assert parse("user", {"username": "u"}).name == "u"
    assert Instance(service_name="orders", instance_id="a", host="h", port=1).name == "orders/a"


def test_constructors_are_as_strict_as_documents() -> None:
    with pytest.raises(ValueError, match="together with prefix"):
        Route(name="a", prefix="/", path="/", service_name="a")
    with pytest.raises(ValueError, match="must be a whole number"):
        Instance(service_name="a", instance_id="b", host="h", port="80")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_schema_with_bounds(kind: str) -> None:
    schema = KINDS[kind].model_json_schema()
    assert schema["additionalProperties"] is False
    for name, found in schema["properties"].items():
        choices = found.get("anyOf", [found])
        for choice in choices:
            if choice.get("type") in ("integer", "number"):
                assert {"minimum", "maximum"} <= choice.keys() | found.keys(), name
            if choice.get("type") == "string" and "const" not in choice and "enum" not in choice:
                assert {"maxLength", "pattern"} & (choice.keys() | found.keys()), name
            if choice.get("type") == "array":
                assert "maxItems" in choice.keys() | found.keys(), name
