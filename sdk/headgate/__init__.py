"""Register services with a Headgate gateway, and operate it.

    async with headgate.register(ServiceDefinition("orders"), port=9001): ...
    async with headgate.connect("127.0.0.1:50051", token=token) as gateway: ...

The same without asyncio: `headgate.sync.register`, `headgate.sync.connect`.
"""

from __future__ import annotations

from headgate import sync
from headgate.circuits import CircuitBreaker
from headgate.client import Gateway, Registry, Router, connect
from headgate.errors import (
    BucketNotFound,
    DuplicateInstance,
    Forbidden,
    HeadgateError,
    InvalidDefinition,
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
    "connect",
    "register",
    "sync",
    "token_file",
]
