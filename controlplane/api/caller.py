"""The address that a request comes from, behind proxies too."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

Network = IPv4Network | IPv6Network


def address_of(request: Request, trusted: Iterable[Network]) -> str:
    """The IP address of the caller; empty where there is none.

    X-Forwarded-For is read from the right, as far as the one who wrote an entry is in a `trusted` network: what a
    client claims about itself stands further left and is never reached.
    """
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    current = _parsed(request.client.host) if request.client else None
    while current is not None and hops and _within(current, trusted):
        earlier = _parsed(hops.pop())
        if earlier is None:
            break
        current = earlier
    return str(current) if current is not None else ""


def _within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
