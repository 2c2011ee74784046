"""Every value from the wire is looked at, and everything wrong with a resource is told at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from dataplane.config.decode import decode
from dataplane.config.table import Problem, TableError, UnlinkedRoute
from dataplane.gateway.policy import resources as policy
from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire


def problems(resource: pb.Resource) -> dict[str, str]:
    """Field → detail of everything wrong with `resource`."""
    with pytest.raises(TableError) as caught:
        decode(resource)
    return {problem.field: problem.detail for problem in caught.value.problems}


def test_a_service_with_the_contracts_defaults() -> None:
    assert decode(wire.service("orders")) == policy.Service("orders")


def test_a_service_with_everything_else() -> None:
    resource = wire.service(
        "orders",
        load_balancer=pb.LOAD_BALANCER_IP_HASH,
        check_path="/ping?full=1",
        retries=pb.Retries(attempts=3, on=["connect", "reset", "503"], budget=0.5),
        timeouts=pb.Timeouts(connect=5, response=15, idle=300, total=60),
    )
    service = decode(resource)
    assert isinstance(service, policy.Service)
    assert service.load_balancer is policy.LoadBalancer.IP_HASH
    assert service.health_check.path == "/ping?full=1"
    assert service.retries == policy.Retries(3, frozenset({"connect", "reset", "503"}), 0.5)
    assert service.timeouts.total == 60


def test_tls_to_the_instances_holds_for_probes_too() -> None:
    found = decode(wire.service("orders", tls=pb.UpstreamTls(server_name="orders.internal")))
    assert isinstance(found, policy.Service)
    assert found.tls == found.health_check.tls == policy.UpstreamTls("orders.internal")
    plain = decode(wire.service("orders"))
    assert isinstance(plain, policy.Service) and plain.tls is None
    assert decode(wire.service("orders", tls=pb.UpstreamTls())) == policy.Service(
        "orders", tls=policy.UpstreamTls(), health_check=policy.HealthCheck(tls=policy.UpstreamTls())
    )


def test_retries_without_a_condition_are_off() -> None:
    service = decode(wire.service("orders", retries=pb.Retries(attempts=2)))
    assert isinstance(service, policy.Service)
    assert not service.retries.on


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"service_name": "other"}, "service_name"),
        ({"load_balancer": 0}, "load_balancer"),
        ({"load_balancer": 99}, "load_balancer"),
        ({"check_path": ""}, "check_path"),
        ({"check_path": "health"}, "check_path"),
        ({"check_path": "/he alth"}, "check_path"),
        ({"check_path": "/health\r\nHost: x"}, "check_path"),
        ({"check_interval": 0}, "check_interval"),
        ({"check_interval": -1}, "check_interval"),
        ({"check_timeout": math.nan}, "check_timeout"),
        ({"check_timeout": math.inf}, "check_timeout"),
        ({"healthy_threshold": 0}, "healthy_threshold"),
        ({"unhealthy_threshold": 0}, "unhealthy_threshold"),
        ({"retries": pb.Retries(attempts=4, on=["connect"])}, "retries.attempts"),
        ({"retries": pb.Retries(attempts=1, on=["connect", "404"])}, "retries.on[1]"),
        ({"retries": pb.Retries(attempts=1, on=["connect"], budget=1.5)}, "retries.budget"),
        ({"retries": pb.Retries(attempts=1, on=["connect"], budget=math.nan)}, "retries.budget"),
        ({"timeouts": pb.Timeouts(connect=1, response=1, idle=1, total=-1)}, "timeouts.total"),
        ({"timeouts": pb.Timeouts(connect=1, response=1, idle=1, total=math.inf)}, "timeouts.total"),
        ({"circuit": wire.circuit(failure_ratio=1.5)}, "circuit.failure_ratio"),
        ({"circuit": wire.circuit(failure_ratio=math.nan)}, "circuit.failure_ratio"),
        ({"circuit": wire.circuit(failure_threshold=0)}, "circuit.failure_threshold"),
        ({"circuit": wire.circuit(half_open_requests=0)}, "circuit.half_open_requests"),
        ({"timeouts": pb.Timeouts(connect=1, response=0, idle=1)}, "timeouts.response"),
        ({"tls": pb.UpstreamTls(server_name="a b")}, "tls.server_name"),
        ({"tls": pb.UpstreamTls(ca="/etc/ca.pem")}, "tls.ca"),
        (
            {"tls": pb.UpstreamTls(ca="-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----")},
            "tls.ca",
        ),
        ({"tls": pb.UpstreamTls(ca="é")}, "tls.ca"),
    ],
)
def test_a_service_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    assert list(problems(wire.service("orders", **fields))) == [wrong]


def test_parts_that_are_left_out_are_told_field_by_field() -> None:
    found = problems(wire.service("orders", circuit=None, timeouts=None))
    assert {"circuit.failure_window", "circuit.recovery_timeout", "timeouts.connect", "timeouts.idle"} <= set(
        found
    )


def test_an_instance() -> None:
    resource = wire.instance("orders", "orders-1", 9001, host="::1", weight=3, draining=True)
    assert decode(resource) == policy.Instance("orders", "orders-1", "::1", 9001, 3, True)


def test_an_instance_on_a_unix_socket() -> None:
    resource = wire.instance("orders", "orders-1", 0, host="unix:/run/apps/orders.sock")
    assert decode(resource) == policy.Instance("orders", "orders-1", "unix:/run/apps/orders.sock", 0)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"host": "unix:/run/a.sock"}, "port"),
        ({"host": "unix:run/a.sock", "port": 0}, "host"),
        ({"host": "unix:@a", "port": 0}, "host"),
        ({"host": "unix:/run/../a.sock", "port": 0}, "host"),
        ({"host": "unix:/run/.", "port": 0}, "host"),
        ({"host": "unix:/run//a", "port": 0}, "host"),
        ({"host": "unix:/run/a b", "port": 0}, "host"),
        ({"host": "unix:/" + 107 * "a", "port": 0}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"weight": 0}, "weight"),
        ({"weight": 1001}, "weight"),
        ({"host": ""}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "evil/path"}, "host"),
        ({"host": "user@host"}, "host"),
    ],
)
def test_an_instance_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    assert list(problems(wire.instance("orders", "orders-1", **{"port": 80, **fields}))) == [wrong]


def test_an_instance_under_another_name() -> None:
    resource = wire.instance("orders", "orders-1", 80)
    resource.name = "orders/orders-2"
    assert list(problems(resource)) == ["instance_id"]


def test_a_route() -> None:
    resource = wire.route(
        "orders",
        "orders",
        prefix="/orders",
        hosts=["example.org", "*.example.org"],
        methods=["GET", "POST"],
        public=False,
        scopes=["orders:read"],
        rate_limits=["burst"],
        rewrite="/v2",
        timeout=2.5,
        max_body_bytes=0,
        upgrades=["websocket"],
        trace_sampling=0.0,
    )
    route = policy.Route(
        "orders",
        "orders",
        prefix="/orders",
        hosts=("example.org", "*.example.org"),
        methods=frozenset({"GET", "HEAD", "POST"}),
        head_follows=True,
        scopes=frozenset({"orders:read"}),
        rewrite="/v2",
        timeout=2.5,
        max_body_bytes=None,
        upgrades=("websocket",),
        trace_sampling=0.0,
    )
    assert decode(resource) == UnlinkedRoute(route, ("burst",))
    resource.route.ClearField("trace_sampling")
    assert decode(resource) == UnlinkedRoute(replace(route, trace_sampling=None), ("burst",))


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"prefix": ""}, "prefix"),
        ({"trace_sampling": 1.5}, "trace_sampling"),
        ({"prefix": "/a", "path": "/b"}, "prefix"),
        ({"prefix": "orders"}, "prefix"),
        ({"prefix": "/a", "path_regex": "/b"}, "prefix"),
        ({"prefix": "", "path_regex": "/(a"}, "path_regex"),
        ({"method_miss": 403}, "method_miss"),
        ({"headers": [pb.HeaderMatch(name="a b", exact="x")]}, "headers[0].name"),
        ({"headers": [pb.HeaderMatch(name="a")]}, "headers[0]"),
        ({"headers": [pb.HeaderMatch(name="a", exact="x", regex="y")]}, "headers[0]"),
        ({"headers": [pb.HeaderMatch(name="a", present=False)]}, "headers[0]"),
        ({"query": [pb.QueryMatch(name="a", regex="[")]}, "query[0].regex"),
        ({"path": "orders"}, "path"),
        ({"hosts": ["ok", "Example.org"]}, "hosts[1]"),
        ({"hosts": ["example.org:80"]}, "hosts[0]"),
        ({"hosts": ["*"]}, "hosts[0]"),
        ({"methods": ["get"]}, "methods[0]"),
        ({"scopes": ["orders:read"]}, "scopes"),
        ({"public": False, "scopes": ["a b"]}, "scopes[0]"),
        ({"service_name": ""}, "service_name"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"rewrite": "elsewhere"}, "rewrite"),
        ({"upgrades": ["WebSocket"]}, "upgrades[0]"),
        ({"upgrades": ["websocket", "h2c"]}, "upgrades[1]"),
        ({"upgrades": ["http/2.0"]}, "upgrades[0]"),
        ({"upgrades": ["a\r\nb"]}, "upgrades[0]"),
    ],
)
def test_a_route_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    assert list(problems(wire.route("orders", **{"service_name": "orders", **fields}))) == [wrong]


def test_a_method_that_is_not_served_is_no_problem() -> None:
    """A store from before may hold some, and one such route must not stop all others from being updated."""
    resource = wire.route("orders", service_name="orders", prefix="/orders", methods=["TRACE", "GET"])
    route = decode(resource)
    assert isinstance(route, UnlinkedRoute) and route.route.methods == {"TRACE", "GET", "HEAD"}


def test_a_rate_limit() -> None:
    resource = wire.rate_limit("burst", key=pb.LIMIT_KEY_HEADER, header="X-Client", per_second=0.5, burst=1)
    assert decode(resource) == policy.Limit("burst", 0.5, 1, policy.LimitKey.HEADER, "x-client")


def test_a_limit_of_the_fleet() -> None:
    plain = decode(wire.rate_limit("burst", mode=pb.LIMIT_MODE_FLEET))
    assert isinstance(plain, policy.Limit)
    assert (plain.mode, plain.without_owner) == (policy.LimitMode.FLEET, "share")
    strict = wire.rate_limit("burst", mode=pb.LIMIT_MODE_FLEET, without_owner=pb.WITHOUT_OWNER_STRICT)
    found = decode(strict)
    assert isinstance(found, policy.Limit) and found.without_owner == "strict"
    local = decode(wire.rate_limit("burst"))
    assert isinstance(local, policy.Limit) and local.mode is policy.LimitMode.LOCAL


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"key": pb.LIMIT_KEY_UNSPECIFIED}, "key"),
        ({"keys": ["telepathy"]}, "keys[0]"),
        ({"keys": ["address", "claim:"]}, "keys[1]"),
        ({"keys": ["address", "header"]}, "header"),
        ({"keys": ["header:X Client"]}, "keys[0]"),
        ({"cost": 21}, "cost"),
        ({"cost_header": "x cost"}, "cost_header"),
        ({"enforce": "101%"}, "enforce"),
        ({"enforce": "off"}, "enforce"),
        ({"address_prefix": 129}, "address_prefix"),
        ({"per_second": 0, "max_concurrent": 5}, "per_second"),
        ({"key": pb.LIMIT_KEY_HEADER}, "header"),
        ({"key": pb.LIMIT_KEY_HEADER, "header": "x client"}, "header"),
        ({"mode": pb.LIMIT_MODE_UNSPECIFIED}, "mode"),
        ({"mode": 99}, "mode"),
        ({"without_owner": 99}, "without_owner"),
        ({"mode": pb.LIMIT_MODE_REDIS, "on_store_failure": 9}, "on_store_failure"),
        ({"mode": 9}, "mode"),
        ({"per_second": 0}, "per_second"),
        ({"per_second": math.inf}, "per_second"),
        ({"burst": 0}, "burst"),
    ],
)
def test_a_rate_limit_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    assert list(problems(wire.rate_limit("burst", **fields))) == [wrong]


def test_a_user() -> None:
    resource = wire.user("alice", "orders:read", "orders:write", disabled=True)
    assert decode(resource) == policy.User("alice", frozenset({"orders:read", "orders:write"}), True)


def test_a_user_with_a_scope_that_no_token_can_carry() -> None:
    assert list(problems(wire.user("alice", "fine", "not fine"))) == ["scopes[1]"]


def test_a_verification_key() -> None:
    assert decode(wire.verification_key("k1")) == policy.VerificationKey(
        "k1", wire.JWK, "headgate", "headgate"
    )


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"jwk": ""}, "jwk"),
        ({"jwk": "[]"}, "jwk"),
        ({"jwk": '{"kty": "oct", "k": "c2VjcmV0"}'}, "jwk"),
        ({"jwk": '{"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "c2VjcmV0"}'}, "jwk"),
        ({"issuer": ""}, "issuer"),
        ({"audience": ""}, "audience"),
    ],
)
def test_a_verification_key_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    found = problems(wire.verification_key("k1", **fields))
    assert list(found) == [wrong]
    assert "c2VjcmV0" not in found[wrong]


def test_resets() -> None:
    assert decode(wire.reset("r1", 7, circuit="orders")) == policy.Reset(7, circuit="orders")
    assert decode(wire.reset("r2", 8, rate_limit="subject:alice")) == policy.Reset(
        8, rate_limit="subject:alice"
    )


def test_a_reset_of_nothing() -> None:
    assert list(problems(wire.reset("r1"))) == ["target"]


def test_a_kind_of_the_future() -> None:
    resource = pb.Resource.FromString(
        # field 99, length-delimited, empty: a kind that this version was not built with
        pb.Resource(name="new", revision=3).SerializeToString() + b"\x9a\x06\x00"
    )
    assert problems(resource) == {"body": "has a kind that this version does not know"}


@pytest.mark.parametrize("name", ["", 'quo"te', "new\nline", "späte", "a b", "x" * 257])
def test_names_that_would_have_to_be_escaped(name: str) -> None:
    assert "name" in problems(wire.user(name, "a:b"))


def test_fields_of_the_future_are_no_problem() -> None:
    known = wire.user("alice")
    unknown = pb.Resource.FromString(known.SerializeToString() + b"\x9a\x06\x00")
    assert decode(unknown) == decode(known)


def test_a_resource_without_a_revision() -> None:
    assert list(problems(wire.user("alice", revision=0))) == ["revision"]


def test_all_problems_of_a_resource_at_once_and_where_they_are() -> None:
    with pytest.raises(TableError) as caught:
        decode(wire.instance("orders", "orders-1", 0, host="", weight=0))
    assert [str(problem) for problem in caught.value.problems] == [
        "instance/orders/orders-1 host: '' is neither an IP address nor a host name",
        "instance/orders/orders-1 port: must be from 1 to 65535, not 0",
        "instance/orders/orders-1 weight: must be from 1 to 1000, not 0",
    ]
    assert str(Problem("", "routes", "too many")) == "routes: too many"
