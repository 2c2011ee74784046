"""Addresses that the name of an instance may resolve to.

Control planes refuse to register addresses that mean something else to a data plane than to the service: its own
loopback, where its status port listens, and link-local addresses, where clouds answer with credentials. They cannot
know what a name will resolve to, so that is checked here, at each look-up, by the same rules. An address that was
registered has passed their check, and is not checked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_METADATA: Final = (
    ip_network("169.254.169.254/32"),
    ip_network("fd00:ec2::254/128"),
    ip_network("100.100.100.200/32"),
)
_THIS_HOST: Final = ip_network("0.0.0.0/8")
_LOOPBACK_NAME: Final = re.compile(
    r"(?:.*\.)?(?:localhost|localhost\.localdomain|ip6-localhost|ip6-loopback)\.?", re.IGNORECASE
)


class ForbiddenAddress(OSError):
    """A name has no allowed address. The message names its address."""


class Targets:
    """The rules, with their exceptions and additions."""

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        """`allow` are networks whose addresses names may have although they are special, `deny` those whose addresses
        they must not have, in CIDR notation."""
        self._allow = tuple(ip_network(network) for network in allow)
        self._deny = tuple(ip_network(network) for network in deny)

    def permitted(self, host: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """The allowed addresses of `host`. Raises ForbiddenAddress if there are addresses, but none is allowed."""
        found: list[str] = []
        reason = ""
        for address in addresses:
            complaint = self._complaint(host, address)
            if complaint is None:
                found.append(address)
            else:
                reason = complaint
        if reason and not found:
            raise ForbiddenAddress(reason)
        return tuple(found)

    def _complaint(self, host: str, text: str) -> str | None:
        if any(_parsed(text) in network for network in self._deny):
            return (
                f"{host} resolves to {text}, and is not called: the address is in a network of REGISTER_DENY of the "
                "data planes"
            )
        what = _special(text)
        if what is None or any(_parsed(text) in network for network in self._allow):
            return None
        if what == _LOOPBACK and _LOOPBACK_NAME.fullmatch(host):
            # The name itself shows it, and control planes recognise such names.
            return None
        return (
            f"{host} resolves to {text}, {what}, and is not called; if this is intended, add the address "
            "to REGISTER_ALLOW of the data planes"
        )


_LOOPBACK: Final = "a loopback address"


def _parsed(text: str) -> Address:
    found = ip_address(text.partition("%")[0])
    return found.ipv4_mapped or found.sixtofour or found if isinstance(found, IPv6Address) else found


@lru_cache(maxsize=10_000)
def _special(text: str) -> str | None:
    """The special purpose of an address; None for an ordinary one."""
    address = _parsed(text)
    if any(address in network for network in _METADATA):
        return "an address of a cloud's metadata service, which answers with credentials"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_HOST):
        return "an address of this host"
    if address.is_loopback:
        return _LOOPBACK
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    return "a reserved address" if address.is_reserved else None
