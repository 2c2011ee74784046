"""A service that registers itself with the gateway: python examples/register_service.py [NAME [PORT]]

HEADGATE_CONTROLPLANE has the address of the control plane, and HEADGATE_TOKEN the services' token. On Ctrl-C or SIGTERM
the instance is removed before the process ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging

import headgate
from headgate import CircuitConfig, ServiceDefinition

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request, including the probe of /health."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(name: str, port: int) -> None:
    """Serve, registered during that time."""
    definition = ServiceDefinition(
        service_name=name,
        check_path="/health",
        check_interval=5,
        circuit=CircuitConfig(failure_threshold=5, recovery_timeout=10),
    )
    server = await asyncio.start_server(answer, port=port)
    async with server, headgate.register(definition, port=port) as registration:
        print(f"{registration.instance} is registered", flush=True)
        # The server already answers, and runs until the block is left: then its last request has been answered.
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(":")[0])
    parser.add_argument("name", nargs="?", default="hello", help="name of the service (hello)")
    parser.add_argument("port", nargs="?", default=9001, type=int, help="port on which it listens (9001)")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(given.name, given.port))
