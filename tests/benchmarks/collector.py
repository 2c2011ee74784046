"""A collector that takes whatever comes, unread: `python -m tests.benchmarks.collector <port>`.

OTLP over gRPC, as cheaply as grpcio can: an empty answer to every message means that all of it was taken.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc.aio


class _Taking(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers every method alike."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(_take)


async def _take(request: bytes, context: Any) -> bytes:
    return b""


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Taking(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
