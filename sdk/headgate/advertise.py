"""Where an instance says it can be reached, when its author did not say."""

from __future__ import annotations

import asyncio
import re
import socket

from headgate.errors import Unavailable
from headgate.target import Target


def default_instance_id(host_name: str, port: int) -> str:
    """Host name and port as a resource name: the same after a restart, so that the instance replaces itself."""
    joined = re.sub(r"[^a-z0-9._-]", "-", f"{host_name}-{port}".lower())
    return joined[-63:].lstrip("._-")


async def local_address(target: Target) -> str:
    """The address that packets to the control plane leave from; nothing is sent to find out.

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
