"""Lists of client addresses that may use a route, or may not."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

MOST_KNOWN: Final = 4096
"""Addresses whose verdict is kept, for each route."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressLists:
    """`deny` comes first. With an `allow` list, only addresses in it are admitted."""

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()

    def admit(self, text: str) -> bool:
        """Whether a client with this address may use the route. An address that is none is in no network."""
        try:
            address = _plain(ip_address(text))
        except ValueError:
            return not self.allow
        if _within(address, self.deny):
            return False
        return not self.allow or _within(address, self.allow)


class Gate:
    """Address lists with the verdicts of late."""

    __slots__ = ("_known", "_lists")

    def __init__(self, lists: AddressLists) -> None:
        self._lists = lists
        self._known: dict[str, bool] = {}

    def admits(self, address: str) -> bool:
        """Whether a client with this address may use the route."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[address] = self._lists.admit(address)
        return known


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2) is that address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
