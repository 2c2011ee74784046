"""The identity in a client certificate. Only this module knows the rule:

    The certificate holds exactly one URI among its subject alternative names, a SPIFFE ID whose path is
        /headgate/dataplane                       any data plane
        /headgate/dataplane/<node>                the data plane of this name
        /headgate/pool/<pool>/dataplane[/<node>]  the same, of this pool
        /headgate/service                         any service
        /headgate/service/<name>                  the service of this name
    in whatever trust domain: what is trusted is the authority that signed it (GRPC_CLIENT_CA).

A certificate without such a name lets its holder connect, and authenticate with a token. Common name and organisational
unit do not count: certificates have them for other reasons, and their issuers do not expect them to grant access here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from controlplane.model.pool import DEFAULT_POOL
from controlplane.rpc.errors import Context

_SPIFFE_ID = re.compile(
    r"spiffe://[a-z0-9._-]{1,255}/headgate/"
    r"(?:pool/(?P<pool>[^/]+)/(?=dataplane))?(?P<role>dataplane|service)(?:/(?P<name>[^/]+))?"
)


class Role(Enum):
    """The role of a caller, which decides its permissions."""

    DATAPLANE = "data plane"
    SERVICE = "service"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Identity:
    """A data plane or a service; without a name, any of them."""

    role: Role
    name: str | None = None
    pool: str = DEFAULT_POOL
    """A data plane's."""


def is_encrypted(context: Context) -> bool:
    """Whether the call came over TLS."""
    return b"ssl" in map(bytes, context.auth_context().get("transport_security_type", ()))


def identity_of(context: Context) -> Identity | None:
    """The identity in the caller's certificate; None without a certificate, or without such a name in it."""
    # gRPC tells of a SPIFFE ID only where there is exactly one URI, as SPIFFE demands.
    for value in context.auth_context().get("peer_spiffe_id", ()):
        return identity(bytes(value).decode("ascii", "replace"))
    return None


def identity(spiffe_id: str) -> Identity | None:
    """The identity in this SPIFFE ID."""
    match = _SPIFFE_ID.fullmatch(spiffe_id)
    if match is None:
        return None
    role = Role.DATAPLANE if match["role"] == "dataplane" else Role.SERVICE
    return Identity(role, match["name"], match["pool"] or DEFAULT_POOL)
