"""What a config stream does with time: someone who never says hello does not keep a place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.commands.commands import Commands
from controlplane.distribute.hub import Hub
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.identity import Hasher, SharedTokens
from controlplane.rpc.config_stream import ConfigStream
from controlplane.rpc.credentials import Credentials
from controlplane.store import MemoryStore
from tests.support.control_plane import Node

TOKEN, SERVICE_TOKEN = "the-data-planes-token", "the-services-token"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    store = MemoryStore()
    watcher = Watcher(store)
    commands = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    credentials = Credentials(
        SharedTokens(TOKEN), SharedTokens(SERVICE_TOKEN), lambda: None, watcher, commands
    )
    server = grpc.aio.server()
    fleet = Fleet()
    stream = ConfigStream(Hub(watcher, fleet), fleet, credentials, most=1, hello_within=0.05)
    server.add_generic_rpc_handlers((stream.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_silence_costs_the_place(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        silent: Any = Node(channel, token=TOKEN)
        assert await silent.end() == (grpc.StatusCode.FAILED_PRECONDITION, "the first message must be hello")
        # The one place is free again.
        next_one = Node(channel, token=TOKEN)
        assert (await next_one.end())[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_credentials_show_nothing_of_themselves() -> None:
    store = MemoryStore()
    commands = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    credentials = Credentials(
        SharedTokens(TOKEN), SharedTokens(SERVICE_TOKEN), lambda: None, Watcher(store), commands
    )
    assert TOKEN not in repr(credentials)
