"""A demo service: answers JSON, fails on request, and registers itself with the gateway through the SDK.

    python -m demo.service NAME INSTANCE_ID PORT

After `POST /fail` every answer is a 500, until `POST /recover`; both are called directly, not through the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import headgate
from headgate import ServiceDefinition

EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]
REGISTERED = "registered: process {pid}"
"""Printed when it is."""


def make_app(name: str, instance_id: str) -> Starlette:
    """The service itself, which does not depend on the gateway."""
    failing = False

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def fail(_: Request) -> Response:
        nonlocal failing
        failing = True
        return JSONResponse({"failing": True})

    async def recover(_: Request) -> Response:
        nonlocal failing
        failing = False
        return JSONResponse({"failing": False})

    async def answer(request: Request) -> Response:
        body = {
            "service": name,
            "instance": instance_id,
            "path": request.url.path,
            "subject": request.headers.get("x-auth-subject"),
            "request_id": request.headers.get("x-request-id"),
        }
        return JSONResponse(body, status_code=500 if failing else 200)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/fail", fail, methods=["POST"]),
            Route("/recover", recover, methods=["POST"]),
            Route("/{path:path}", answer, methods=EVERY_METHOD),
        ]
    )


class Server(uvicorn.Server):
    """Leaves signals to the registration, which ends before the server does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(name: str, instance_id: str, port: int, ttl: float = 15) -> None:
    """Serve until SIGTERM or Ctrl-C, registered during that time (HEADGATE_CONTROLPLANE, HEADGATE_TOKEN). `ttl` is the
    number of seconds for which the registration outlives this process, or the control planes.
    """
    config = uvicorn.Config(
        make_app(name, instance_id),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    definition = ServiceDefinition(service_name=name, check_interval=1, check_timeout=1)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        # While the server runs, because leaving the block waits for the last request, which must be answered.
        async with headgate.register(
            definition, host="127.0.0.1", port=port, instance_id=instance_id, ttl=ttl
        ):
            print(REGISTERED.format(pid=os.getpid()), flush=True)
            await asyncio.wait({serving})
    finally:
        server.should_exit = True
        await serving


def main() -> None:
    """Read the command line and serve."""
    match sys.argv[1:]:
        case [name, instance_id, port, *rest] if all(map(str.isdigit, (port, *rest))) and len(rest) < 2:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(serve(name, instance_id, int(port), *map(int, rest)))
        case _:
            sys.exit("usage: python -m demo.service NAME INSTANCE_ID PORT [TTL]")


if __name__ == "__main__":
    main()
