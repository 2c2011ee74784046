"""Register services with a Headgate gateway, and operate it.

    async with headgate.register(ServiceDefinition("orders"), port=9001): ...
    async with headgate.connect("127.0.0.1:50051", token=token) as gateway: ...

The same without asyncio: `headgate.sync.register`, `headgate.sync.connect`. For servers: `headgate.asgi.lifespan`,
`headgate.wsgi.gunicorn`, `headgate.grpc_server.serve`.

Names are imported at their first use, so that a forking server can import this package before the fork and gRPC later.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate import asgi, grpc_server, sync, wsgi
    from headgate.circuits import CircuitBreaker
    from headgate.client import Gateway, Registry, Router, connect
    from headgate.errors import (
        BucketNotFound,
        DuplicateInstance,
        Forbidden,
        HeadgateError,
        InvalidDefinition,
        Misconfigured,
        NotRegistered,
        ServiceNotFound,
        Stragglers,
        Unauthenticated,
        Unavailable,
    )
    from headgate.models import (
        Bucket,
        BucketReport,
        CircuitConfig,
        CircuitReport,
        CircuitState,
        CircuitStats,
        DiscoveryState,
        Instance,
        LimitBound,
        LimitPlace,
        LimitReset,
        LoadBalancer,
        RateLimit,
        RegistrationRequest,
        Retries,
        Route,
        Service,
        ServiceDefinition,
        ServiceStatus,
        Timeouts,
    )
    from headgate.registration import Registration, register
    from headgate.target import token_file

__all__ = [
    "Bucket",
    "BucketNotFound",
    "BucketReport",
    "CircuitBreaker",
    "CircuitConfig",
    "CircuitReport",
    "CircuitState",
    "CircuitStats",
    "DiscoveryState",
    "DuplicateInstance",
    "Forbidden",
    "Gateway",
    "HeadgateError",
    "Instance",
    "InvalidDefinition",
    "LimitBound",
    "LimitPlace",
    "LimitReset",
    "LoadBalancer",
    "Misconfigured",
    "NotRegistered",
    "RateLimit",
    "Registration",
    "RegistrationRequest",
    "Registry",
    "Retries",
    "Route",
    "Router",
    "Service",
    "ServiceDefinition",
    "ServiceNotFound",
    "ServiceStatus",
    "Stragglers",
    "Timeouts",
    "Unauthenticated",
    "Unavailable",
    "asgi",
    "connect",
    "grpc_server",
    "register",
    "sync",
    "token_file",
    "wsgi",
]

_MODULES = ("asgi", "grpc_server", "sync", "wsgi")
_HOMES = {
    "circuits": ("CircuitBreaker",),
    "client": ("Gateway", "Registry", "Router", "connect"),
    "registration": ("Registration", "register"),
    "target": ("token_file",),
    "errors": (
        "BucketNotFound",
        "DuplicateInstance",
        "Forbidden",
        "HeadgateError",
        "InvalidDefinition",
        "Misconfigured",
        "NotRegistered",
        "ServiceNotFound",
        "Stragglers",
        "Unauthenticated",
        "Unavailable",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"headgate.{name}")
    home = next((home for home, names in _HOMES.items() if name in names), "models")
    found = globals()[name] = getattr(import_module(f"headgate.{home}"), name)
    return found


def __dir__() -> list[str]:
    """The names that are there to be used."""
    return sorted(__all__)
