"""Decodes one protobuf resource into one policy value. Every field is checked: the control plane may be newer or older.

An unknown enum value, an unset oneof or a number out of range is a problem with its field path; the nack lists all of
them. The control plane fills in defaults; here every field must hold a valid value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from dataplane.config.decode.checker import Checker
from dataplane.config.decode.listener import read_certificate, read_listener
from dataplane.config.decode.route import read_route
from dataplane.config.decode.words import HOST, SCOPE, is_pem
from dataplane.config.table import Item, Problem, TableError
from dataplane.gateway.policy import resources as policy
from dataplane.gateway.policy.retry import CONDITIONS
from dataplane.proxy.address import UNIX
from headgate_api.v1 import resources_pb2 as pb

_SOCKET = re.compile(UNIX + r"(?=.{2,107}$)(/(?!\.{1,2}(/|$))[A-Za-z0-9._~@:+=,-]+)+")

_BALANCERS: Mapping[int, policy.LoadBalancer] = {
    pb.LOAD_BALANCER_ROUND_ROBIN: policy.LoadBalancer.ROUND_ROBIN,
    pb.LOAD_BALANCER_LEAST_REQUEST: policy.LoadBalancer.LEAST_REQUEST,
    pb.LOAD_BALANCER_IP_HASH: policy.LoadBalancer.IP_HASH,
}
_LIMIT_KEYS: Mapping[int, tuple[str, ...]] = {
    pb.LIMIT_KEY_ADDRESS: policy.LimitKey.ADDRESS,
    pb.LIMIT_KEY_SUBJECT: policy.LimitKey.SUBJECT,
    pb.LIMIT_KEY_ROUTE: policy.LimitKey.ROUTE,
    pb.LIMIT_KEY_HEADER: policy.LimitKey.HEADER,
    pb.LIMIT_KEY_API_KEY: policy.LimitKey.API_KEY,
}
_LIMIT_MODES: Mapping[int, policy.LimitMode] = {
    pb.LIMIT_MODE_LOCAL: policy.LimitMode.LOCAL,
    pb.LIMIT_MODE_FLEET: policy.LimitMode.FLEET,
    pb.LIMIT_MODE_REDIS: policy.LimitMode.REDIS,
}
_WITHOUT_OWNER: Mapping[int, str] = {
    pb.WITHOUT_OWNER_UNSPECIFIED: "share",
    pb.WITHOUT_OWNER_STRICT: "strict",
    pb.WITHOUT_OWNER_SHARE: "share",
    pb.WITHOUT_OWNER_OPEN: "open",
}
_STORE_FAILURES: Mapping[int, policy.StoreFailure] = {
    pb.STORE_FAILURE_UNSPECIFIED: policy.StoreFailure.OPEN,
    pb.STORE_FAILURE_OPEN: policy.StoreFailure.OPEN,
    pb.STORE_FAILURE_CLOSED: policy.StoreFailure.CLOSED,
    pb.STORE_FAILURE_LOCAL: policy.StoreFailure.LOCAL,
}
_KEY_PART = re.compile(
    r"address|subject|api_key|route|header|header:[a-z0-9!#$%&'*+.^_`|~-]{1,64}|claim:[\x21-\x7e]{1,64}"
)
_ENFORCE = re.compile(r"on|shadow|(100|[1-9]?[0-9])%")


def decode(resource: pb.Resource) -> Item:
    """The policy value of `resource`; raises TableError with all its problems."""
    kind = resource.WhichOneof("body")
    if kind is None:
        raise TableError([Problem(f"/{resource.name}", "body", "has a kind that this version does not know")])
    check = Checker(f"{kind}/{resource.name}")
    if resource.revision < 1:
        check.wrong("revision", f"must be 1 or more, not {resource.revision}")
    item = _DECODERS[kind](resource, check)
    check.finish()
    return item


def _service(resource: pb.Resource, check: Checker) -> policy.Service:
    body = resource.service
    check.name("name", resource.name)
    if body.retries.attempts > 3:
        check.wrong("retries.attempts", f"must be from 0 to 3, not {body.retries.attempts}")
    check.between("retries.budget", body.retries.budget, 0, 1)
    check.between("timeouts.total", body.timeouts.total, 0, 86_400)
    for position, condition in enumerate(body.retries.on):
        if condition not in CONDITIONS:
            check.wrong(f"retries.on[{position}]", f"{condition!r} is not known to this version")
    tls = _tls(body, check)
    return policy.Service(
        name=check.same("service_name", body.service_name, resource.name),
        load_balancer=check.choice(
            "load_balancer", body.load_balancer, _BALANCERS, policy.LoadBalancer.ROUND_ROBIN
        ),
        circuit=_circuit(body.circuit, check),
        timeouts=policy.Timeouts(
            connect=check.above_zero("timeouts.connect", body.timeouts.connect),
            response=check.above_zero("timeouts.response", body.timeouts.response),
            idle=check.above_zero("timeouts.idle", body.timeouts.idle),
            total=body.timeouts.total,
        ),
        health_check=_health_check(body, tls, check),
        retries=policy.Retries(body.retries.attempts, frozenset(body.retries.on), body.retries.budget),
        tls=tls,
        max_in_flight=body.max_in_flight,
    )


def _tls(body: pb.Service, check: Checker) -> policy.UpstreamTls | None:
    if not body.HasField("tls"):
        return None
    name, ca = body.tls.server_name, body.tls.ca
    if name and not HOST.fullmatch(name):
        check.wrong("tls.server_name", f"{name!r} is not a host name")
    if ca and not is_pem(ca):
        check.wrong("tls.ca", "holds no certificate in PEM")
    return policy.UpstreamTls(name, ca)


def _circuit(body: pb.Circuit, check: Checker) -> policy.Circuit:
    check.between("circuit.failure_ratio", body.failure_ratio, 0, 1)
    return policy.Circuit(
        failure_threshold=check.count("circuit.failure_threshold", body.failure_threshold),
        failure_ratio=body.failure_ratio,
        failure_window=check.above_zero("circuit.failure_window", body.failure_window),
        min_throughput=body.min_throughput,
        recovery_timeout=check.above_zero("circuit.recovery_timeout", body.recovery_timeout),
        half_open_timeout=check.above_zero("circuit.half_open_timeout", body.half_open_timeout),
        half_open_requests=check.count("circuit.half_open_requests", body.half_open_requests),
    )


def _health_check(body: pb.Service, tls: policy.UpstreamTls | None, check: Checker) -> policy.HealthCheck:
    return policy.HealthCheck(
        path=check.path("check_path", body.check_path),
        interval=check.above_zero("check_interval", body.check_interval),
        timeout=check.above_zero("check_timeout", body.check_timeout),
        healthy_threshold=check.count("healthy_threshold", body.healthy_threshold),
        unhealthy_threshold=check.count("unhealthy_threshold", body.unhealthy_threshold),
        tls=tls,
    )


def _instance(resource: pb.Resource, check: Checker) -> policy.Instance:
    body = resource.instance
    check.same("instance_id", f"{body.service_name}/{body.instance_id}", resource.name)
    if body.host.startswith(UNIX):
        if not _SOCKET.fullmatch(body.host):
            check.wrong("host", f"{body.host!r} is no absolute path of a Unix socket")
        check.between("port", body.port, 0, 0)
    else:
        if not HOST.fullmatch(body.host):
            check.wrong("host", f"{body.host!r} is neither an IP address nor a host name")
        check.between("port", body.port, 1, 65535)
    check.between("weight", body.weight, 1, 1000)
    return policy.Instance(
        service=check.name("service_name", body.service_name),
        id=check.name("instance_id", body.instance_id),
        host=body.host,
        port=body.port,
        weight=body.weight,
        draining=body.draining,
    )


def _rate_limit(resource: pb.Resource, check: Checker) -> policy.Limit:
    body = resource.rate_limit
    mode = check.choice("mode", body.mode, _LIMIT_MODES, policy.LimitMode.LOCAL)
    key = _limit_key(body, check)
    if "header" in key:
        check.token("header", body.header)
    if body.cost_header:
        check.token("cost_header", body.cost_header)
    check.between("address_prefix", body.address_prefix, 0, 128)
    # A limit of the requests under way needs no rate.
    bucket = bool(body.per_second or body.burst or not body.max_concurrent)
    if bucket and body.cost > body.burst:
        check.wrong("cost", f"must be at most the burst of {body.burst}, not {body.cost}")
    return policy.Limit(
        name=check.name("name", resource.name),
        per_second=check.above_zero("per_second", body.per_second) if bucket else 0.0,
        burst=check.count("burst", body.burst) if bucket else 0,
        key=key,
        header=body.header.lower(),
        address_prefix=body.address_prefix or 64,
        cost=body.cost or 1,
        cost_header=body.cost_header.lower(),
        max_concurrent=body.max_concurrent,
        enforced=_enforced(body.enforce, check),
        advertise=body.advertise,
        mode=mode if bucket else policy.LimitMode.LOCAL,
        without_owner=check.choice("without_owner", body.without_owner, _WITHOUT_OWNER, "share"),
        on_store_failure=check.choice(
            "on_store_failure", body.on_store_failure, _STORE_FAILURES, policy.StoreFailure.OPEN
        ),
    )


def _limit_key(body: pb.RateLimit, check: Checker) -> tuple[str, ...]:
    """The parts of the key; a control plane that supports only one part sends it as an enum."""
    if not body.keys:
        return check.choice("key", body.key, _LIMIT_KEYS, policy.LimitKey.ADDRESS)
    return check.each("keys", body.keys, _KEY_PART, "a key that this version can count by")


def _enforced(enforce: str, check: Checker) -> int:
    """Per cent of the keys."""
    if not enforce:
        return 100
    if not _ENFORCE.fullmatch(enforce):
        check.wrong("enforce", f"{enforce!r} is not known to this version")
        return 100
    return {"on": 100, "shadow": 0}[enforce] if enforce in ("on", "shadow") else int(enforce[:-1])


def _user(resource: pb.Resource, check: Checker) -> policy.User:
    body = resource.user
    scopes = check.each("scopes", body.scopes, SCOPE, "a scope token (RFC 6749)")
    return policy.User(check.name("name", resource.name), frozenset(scopes), body.disabled, body.credentials)


def _verification_key(resource: pb.Resource, check: Checker) -> policy.VerificationKey:
    body = resource.verification_key
    if (reason := _jwk_problem(body.jwk)) is not None:
        check.wrong("jwk", reason)
    return policy.VerificationKey(
        id=check.name("name", resource.name),
        jwk=body.jwk,
        issuer=check.given("issuer", body.issuer),
        audience=check.given("audience", body.audience),
    )


def _jwk_problem(text: str) -> str | None:
    """The reason why this is not a public JWK (RFC 7517); None for a valid one. Quotes nothing of it."""
    try:
        jwk = json.loads(text)
    except ValueError:
        return "is not JSON"
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return "is not a JWK of type RSA, EC or OKP"
    return "holds a private key" if "d" in jwk else None


def _reset(resource: pb.Resource, check: Checker) -> policy.Reset:
    body = resource.reset
    if body.WhichOneof("target") is None:
        check.wrong("target", "neither circuit nor rate_limit is set")
    return policy.Reset(resource.revision, circuit=body.circuit, rate_limit=body.rate_limit)


_DECODERS: Mapping[str, Callable[[pb.Resource, Checker], Item]] = {
    "service": _service,
    "instance": _instance,
    "certificate": read_certificate,
    "listener": read_listener,
    "route": read_route,
    "rate_limit": _rate_limit,
    "user": _user,
    "verification_key": _verification_key,
    "reset": _reset,
}
