"""The advertised address of an instance whose author set none."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket

from headgate.errors import Unavailable
from headgate.target import Target

LONGEST_ID = 63
"""Characters of an instance_id."""
_DIGEST = 8


def default_instance_id(host_name: str, place: int | str) -> str:
    """Host name and port, or a socket's path, as a resource name.

    The same after a restart, so that the instance replaces itself.
    """
    return fitted_id(f"{host_name}-{str(place).lstrip('/')}")


def fitted_id(text: str) -> str:
    """A resource name for any text. A long text is shortened to its end, with a digest of the whole text before it."""
    name = re.sub(r"[^a-z0-9._-]", "-", text.lower()).lstrip("._-")
    if len(name) <= LONGEST_ID:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{digest}-{name[_DIGEST + 1 - LONGEST_ID :]}"


async def local_address(target: Target) -> str:
    """The source address of packets to the control plane, found without sending any.

    Raises Unavailable when no address of the target can be resolved or reached from here.
    """
    reasons = []
    for host, port in target.hosts_and_ports:
        try:
            return await _towards(host, port)
        except OSError as error:
            reasons.append(f"{host}: {error.strerror or error}")
    raise Unavailable(f"no way to the control plane ({'; '.join(reasons)})")


async def _towards(host: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # of a datagram socket: looks up the route, sends nothing
        return str(probe.getsockname()[0])
