"""WebSockets through a whole data plane: from the route on the wire to the drain at its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.waiting import eventually, within


async def echo(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


def healthy(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.OK, "") if request.path == "/health" else None


@pytest.fixture(autouse=True)
async def _chat(controlplane: FakeControlPlane) -> AsyncIterator[None]:
    async with serve(echo, "127.0.0.1", 0, process_request=healthy) as server:
        port = server.sockets[0].getsockname()[1]
        controlplane.publish(
            wire.snapshot(
                wire.service("chat"),
                wire.instance("chat", "chat-1", port),
                wire.route("chat", "chat", upgrades=["websocket"]),
                wire.route("plain", "chat"),
                revision=5,
            )
        )
        yield


async def test_a_route_lets_them_through(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        async with connect(f"ws://127.0.0.1:{node.port}/chat") as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{node.port}/plain")
        assert refused.value.response.status_code == 426
        await eventually(lambda: [line for line in node.log() if line.get("status") == 101])
        (line,) = [line for line in node.log() if line.get("status") == 101]
        assert (line["decision"], line["route"], line["instance"]) == ("forwarded", "chat", "chat-1")
        assert line["received"] > 0 and line["sent"] > 0 and line["duration_us"] > 0
        assert await node.stop() == 0


async def test_sigterm_gives_them_the_drain_timeout(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path, controlplane.address, DRAIN_TIMEOUT="1") as node:
        await node.started()
        client = await connect(f"ws://127.0.0.1:{node.port}/chat")
        node.send(signal.SIGTERM)
        await eventually(lambda: _refuses(node.port))
        await client.send("still there")
        assert await client.recv() == "still there"
        with pytest.raises(ConnectionClosed):
            await within(client.recv(), 30)
        assert await node.exit_code() == 0


async def _refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False
