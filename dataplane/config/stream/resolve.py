"""The control planes behind a name: one with several addresses, such as a headless Service of Kubernetes, stands for
that many."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

RESOLVE_TIMEOUT = 2.0
"""Seconds for a lookup."""

Resolve = Callable[[Sequence[str], Mapping[str, str]], Awaitable[dict[str, str]]]


async def resolved(names: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Every host:port behind `names` (host:port), each with its name.

    A name with one address stays as it is: gRPC resolves it again for every connection. A name that cannot be resolved
    keeps its addresses in `known`, the result of the last call.
    """
    found: dict[str, str] = {}
    for name, addresses in zip(names, await asyncio.gather(*map(_lookup, names)), strict=True):
        if addresses is None:
            addresses = [address for address, of in known.items() if of == name]
        found |= dict.fromkeys(addresses if len(addresses) > 1 else [name], name)
    return found


def server_name(address: str, name: str) -> str:
    """The host that the certificate at `address` must name, if it is not that of the address; else empty."""
    return "" if address == name else name.rpartition(":")[0]


async def _lookup(name: str) -> list[str] | None:
    host, _, port = name.rpartition(":")
    if _literal(host):
        return [name]
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            loop = asyncio.get_running_loop()
            answers = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    # Of one family: a control plane may have an address of each.
    family = answers[0][0]
    hosts = dict.fromkeys(str(answer[4][0]) for answer in answers if answer[0] == family)
    return [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts]


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
