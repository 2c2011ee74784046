"""The address that a request comes from, behind proxies too."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

Network = IPv4Network | IPv6Network


def address_of(request: Request, trusted: Iterable[Network]) -> str:
    """The IP address of the caller; empty where there is none.

    X-Forwarded-For is read from the right, as long as the writer of an entry is in a `trusted` network: the claims of a
    client stand further left and are never reached.
    """
    told = request.headers.getlist("x-forwarded-for")
    # Empty members of a list are no members (RFC 9110 §5.6.1.2).
    hops = [hop for line in told for hop in map(str.strip, line.split(",")) if hop]
    current = _parsed(request.client.host) if request.client else None
    while current is not None and hops and _within(current, trusted):
        earlier = _parsed(hops.pop())
        if earlier is None:
            break
        current = earlier
    return str(current) if current is not None else ""


def is_trusted(request: Request, trusted: Iterable[Network]) -> bool:
    """Whether the peer is a proxy in a `trusted` network."""
    peer = _parsed(request.client.host) if request.client else None
    return peer is not None and _within(peer, trusted)


def _within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address, with the brackets and the port that some proxies add to it; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
