"""Registration of an instance while a gRPC server (grpc.aio) serves.

    async def main() -> None:
        server = grpc.aio.server()
        add_GreeterServicer_to_server(Greeter(), server)
        server.add_insecure_port("0.0.0.0:9000")
        await headgate.grpc_server.serve(server, "greeter", port=9000)

    asyncio.run(main())

The instance is drained before the server stops.
"""

from __future__ import annotations

import asyncio
from typing import Unpack

import grpc.aio

from headgate.helpers import Options, definition_of, show_log
from headgate.models import ServiceDefinition
from headgate.registration import register


async def serve(
    server: grpc.aio.Server,
    service: ServiceDefinition | str,
    *,
    grace: float = 10.0,
    **options: Unpack[Options],
) -> None:
    """Start the server and serve, registered in the background.

    Ends on SIGTERM, Ctrl-C, a cancellation, or when the server is stopped.
    At the end the instance is drained first; then the server stops, and calls under way have `grace` seconds.

    service: its definition or its name. A missing service is created with the default settings.
    grace: seconds.
    options: as for `headgate.register`. Raises Misconfigured for wrong settings, before the server is started.
    """
    show_log()
    registration = register(definition_of(service), **options, background=True)
    await server.start()
    try:
        async with registration:
            # A cancellation must end only the wait, and nothing within the server.
            await asyncio.shield(asyncio.ensure_future(server.wait_for_termination()))
    finally:
        await server.stop(grace)
