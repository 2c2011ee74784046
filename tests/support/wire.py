"""Configuration on the wire, as sent by a control plane: builders with the contract's defaults."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from headgate_api.v1 import config_pb2, resources_pb2

Resource = resources_pb2.Resource
JWK = '{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
"""The public key of RFC 8037, appendix A.2."""


def service(name: str, revision: int = 1, **fields: Any) -> Resource:
    """A service with every default filled in, as by the control plane."""
    body = {
        "service_name": name,
        "check_path": "/health",
        "check_interval": 30,
        "check_timeout": 5,
        "healthy_threshold": 2,
        "unhealthy_threshold": 3,
        "load_balancer": resources_pb2.LOAD_BALANCER_ROUND_ROBIN,
        "circuit": circuit(),
        "timeouts": resources_pb2.Timeouts(connect=5, response=15, idle=300),
        "retries": resources_pb2.Retries(attempts=1, on=["connect"], budget=0.2),
        **fields,
    }
    return Resource(name=name, revision=revision, service=resources_pb2.Service(**body))


def circuit(**fields: Any) -> resources_pb2.Circuit:
    """The contract's circuit."""
    body: dict[str, Any] = {
        "failure_threshold": 5,
        "failure_ratio": 0.5,
        "failure_window": 60,
        "min_throughput": 2,
        "recovery_timeout": 30,
        "half_open_timeout": 10,
        "half_open_requests": 1,
        **fields,
    }
    return resources_pb2.Circuit(**body)


def instance(service_name: str, instance_id: str, port: int, revision: int = 1, **fields: Any) -> Resource:
    """An instance on this machine."""
    body = {"host": "127.0.0.1", "weight": 1, **fields}
    return Resource(
        name=f"{service_name}/{instance_id}",
        revision=revision,
        instance=resources_pb2.Instance(
            service_name=service_name, instance_id=instance_id, port=port, **body
        ),
    )


def route(name: str, service_name: str, revision: int = 1, **fields: Any) -> Resource:
    """A public route by prefix "/<name>", unless said otherwise."""
    body: dict[str, Any] = {
        "service_name": service_name,
        "public": True,
        "max_body_bytes": 10 << 20,
        **fields,
    }
    if "path" not in body:
        body.setdefault("prefix", f"/{name}")
    return Resource(name=name, revision=revision, route=resources_pb2.Route(**body))


def listener(name: str, port: int, *hostnames: str, revision: int = 1, **fields: Any) -> Resource:
    """A listener for HTTP, unless said otherwise."""
    body: dict[str, Any] = {"protocol": resources_pb2.LISTENER_PROTOCOL_HTTP, **fields}
    made = resources_pb2.Listener(port=port, hostnames=hostnames, **body)
    return Resource(name=name, revision=revision, listener=made)


def certificate(name: str, files: tuple[Path, Path], revision: int = 1) -> Resource:
    """A certificate and its key, from files."""
    chain, key = (file.read_text() for file in files)
    body = resources_pb2.Certificate(certificate=chain, private_key=key)
    return Resource(name=name, revision=revision, certificate=body)


def rate_limit(name: str, revision: int = 1, **fields: Any) -> Resource:
    """A local limit by address."""
    body: dict[str, Any] = {
        "per_second": 10,
        "burst": 20,
        "key": resources_pb2.LIMIT_KEY_ADDRESS,
        "mode": resources_pb2.LIMIT_MODE_LOCAL,
        **fields,
    }
    return Resource(name=name, revision=revision, rate_limit=resources_pb2.RateLimit(**body))


def user(name: str, *scopes: str, revision: int = 1, disabled: bool = False) -> Resource:
    """A user with these scopes."""
    return Resource(name=name, revision=revision, user=resources_pb2.User(scopes=scopes, disabled=disabled))


def verification_key(name: str, revision: int = 1, **fields: Any) -> Resource:
    """A key of the issuer "headgate"."""
    body: dict[str, Any] = {"jwk": JWK, "issuer": "headgate", "audience": "headgate", **fields}
    return Resource(name=name, revision=revision, verification_key=resources_pb2.VerificationKey(**body))


def reset(name: str, revision: int = 1, **target: Any) -> Resource:
    """An order to reset counters."""
    return Resource(name=name, revision=revision, reset=resources_pb2.Reset(**target))


def snapshot(*resources: Resource, revision: int = 1) -> config_pb2.Snapshot:
    """Everything, with the digest that config.proto defines."""
    return config_pb2.Snapshot(revision=revision, digest=digest(*resources), resources=resources)


def digest(*resources: Resource) -> str:
    """As config.proto defines it, word for word."""
    lines = [f"{body.WhichOneof('body')} {body.name} {body.revision}\n" for body in resources]
    shares = [int(hashlib.sha256(line.encode()).hexdigest(), 16) for line in lines]
    return f"{sum(shares) % 2**256:064x}"


def delta(base: config_pb2.Snapshot, target: config_pb2.Snapshot, **fields: Any) -> config_pb2.Delta:
    """The delta from one snapshot to another; `fields` override."""
    before = {(one.WhichOneof("body") or "", one.name): one for one in base.resources}
    after = {(one.WhichOneof("body") or "", one.name): one for one in target.resources}
    made = config_pb2.Delta(
        base_revision=base.revision,
        base_digest=base.digest,
        revision=target.revision,
        digest=target.digest,
        changed=[one for key, one in after.items() if before.get(key) != one],
    )
    for kind, name in before.keys() - after.keys():
        made.removed.add(kind=kind, name=name)
    made.MergeFrom(config_pb2.Delta(**fields))
    return made
