"""The client's address: that of the peer, or the one that trusted proxies state.

X-Forwarded fields are trusted only from peers in TRUSTED_PROXIES. The client is then the last address in
X-Forwarded-For that is not itself a trusted proxy: anything further left could have been made up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

_REMEMBERED = 10_000
MAX_HOPS: Final = 64
"""Hops that are checked: no chain of proxies is longer, and a head has room for thousands."""
_BLOCK_BITS = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a client connection."""

    address: str
    """Its IP address, in the shortest form; IPv4 also for IPv4-mapped IPv6."""
    trusted: bool = False
    """Whether its X-Forwarded fields and its X-Request-Id are trusted."""
    scheme: str = "http"


class TrustedProxies:
    """The networks whose X-Forwarded fields are trusted."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks` in CIDR notation. Raises ValueError for one that is not."""
        self._networks = tuple(ip_network(network) for network in networks)
        self._known: dict[str, bool] = {}
        self._peers: dict[tuple[str, str], Peer] = {}

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[address] = self._within(address)
        return known

    def peer(self, address: str, scheme: str = "http") -> Peer:
        """The peer at a socket address."""
        peer = self._peers.get((address, scheme))
        if peer is None:
            if len(self._peers) >= _REMEMBERED:
                self._peers.clear()
            shortest = canonical_address(address) or address
            peer = self._peers[address, scheme] = Peer(shortest, shortest in self, scheme)
        return peer

    def client(self, peer: Peer, forwarded_for: str) -> str:
        """The client's address, given the X-Forwarded-For of a trusted peer.

        If the last `MAX_HOPS` are all proxies, it is the first of these.
        """
        client = peer.address
        for hop in forwarded_for.rsplit(",", MAX_HOPS)[: -MAX_HOPS - 1 : -1]:
            if not hop.strip():
                # An empty list member is ignored (RFC 9110 section 5.6.1.2).
                continue
            address = canonical_address(hop.strip())
            if address is None:
                return client
            client = address
            if client not in self:
                return client
        return client

    def _within(self, address: str) -> bool:
        found = canonical_address(address)
        return found is not None and any(ip_address(found) in network for network in self._networks)


def canonical_address(address: str) -> str | None:
    """The shortest form of an IP address, without zone, brackets or port; None for other text."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def address_block(address: str, bits: int = _BLOCK_BITS) -> str:
    """The key of limits and bounds: an IPv4 address itself, the leading `bits` of an IPv6 one, in canonical form.

    One IPv6 host owns at least a /64 (RFC 6177, section 2; RFC 7421), so it would have 2**64 buckets otherwise. Any
    other text, such as the path of a Unix socket, counts as itself.
    """
    return address if ":" not in address else _ipv6_block(address, bits)


@lru_cache(maxsize=_REMEMBERED)
def _ipv6_block(address: str, bits: int) -> str:
    found = canonical_address(address)
    if found is None or ":" not in found:
        return found or address
    host_bits = 128 - bits
    return f"{IPv6Address(int(IPv6Address(found)) >> host_bits << host_bits)}/{bits}"
