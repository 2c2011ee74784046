"""Whether a request comes from this machine, or from a page that the client's own machine serves."""

from __future__ import annotations

import re
from ipaddress import ip_address

from starlette.requests import Request

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::[0-9]+)?")


def from_this_machine(request: Request) -> bool:
    """Whether the peer, every proxy before it and the requested host name are this machine.

    The check of the name keeps out web pages whose own host name resolves to this machine (DNS rebinding).
    """
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    peer = request.client.host if request.client else ""
    return (
        all(map(_loopback, [peer, *hops])) and "forwarded" not in request.headers and names_loopback(request)
    )


def names_loopback(request: Request) -> bool:
    """Whether the requested host is the loopback of the client's machine."""
    host = _HOST.fullmatch(request.headers.get("host", ""))
    name = (host[1] or host[2]).lower() if host else ""
    return name == "localhost" or _loopback(name)


def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
