"""Membership: the entries in the store that name the control planes, and the address of each for followers. Pure.

    /headgate/fleet/members/v1/<name>    address and TLS name, as JSON
    /headgate/fleet/v1/<name>            presence; with a summary of the data planes while a control plane needs it

Both keys are attached to the lease of their control plane. A control plane of the previous version, and one without an
address, has the second key only: see `summaries`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

ROOT = "/headgate/fleet/"
"""Prefix that the control plane needs permission for, beside that of the configuration."""
SUMMARIES = f"{ROOT}v1/"
MEMBERS = f"{ROOT}members/v1/"


@dataclass(frozen=True, slots=True)
class Member:
    """The address at which a control plane can be followed."""

    address: str
    """host:port of its gRPC port."""
    tls_name: str | None = None
    """Name that its certificate must have; empty: the host of the address. None: the port is not encrypted."""
    limits: bool = True
    """Whether it can own limits of the fleet."""


def encode(member: Member) -> bytes:
    """The value that the store holds."""
    fields = {"address": member.address, "tls_name": member.tls_name, "limits": member.limits}
    return json.dumps(fields).encode()


def decode(value: bytes) -> Member:
    """Raises ValueError."""
    try:
        found = json.loads(value)
        address, tls_name = found["address"], found["tls_name"]
        limits = found.get("limits") is True
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"is not an entry of a control plane: {error}") from None
    if not isinstance(address, str) or not isinstance(tls_name, str | None) or len(address) > 300:
        raise ValueError("is not an entry of a control plane: its address is not host:port")
    return Member(address, tls_name, limits)
