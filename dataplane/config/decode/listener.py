"""Decodes a listener."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.config.decode.words import ROUTE_HOST
from dataplane.gateway.policy import resources as policy
from headgate_api.v1 import resources_pb2 as pb

_PROTOCOLS: Final[Mapping[int, str]] = {pb.LISTENER_PROTOCOL_HTTP: "http"}


def read_listener(resource: pb.Resource, check: Checker) -> policy.Listener:
    """The listener of a resource."""
    body = resource.listener
    check.between("port", body.port, 1, 65535)
    if resource.name == policy.DEFAULT_LISTENER:
        check.wrong("name", f"{resource.name!r} is the listener of this data plane's settings")
    return policy.Listener(
        name=check.name("name", resource.name),
        port=body.port,
        hostnames=check.each(
            "hostnames", body.hostnames, ROUTE_HOST, "a host name in lower case without port"
        ),
        protocol=check.choice("protocol", body.protocol, _PROTOCOLS, "http"),
    )
