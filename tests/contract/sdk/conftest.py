"""A control plane in this process, over a store in memory: real gRPC, real HTTP, no etcd."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import uvicorn

from controlplane.api.application import make_api
from controlplane.api.parts import Parts
from controlplane.commands.commands import Commands
from controlplane.distribute.hub import Hub
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.identity import Hasher, SharedTokens
from controlplane.rpc.server import serve
from controlplane.settings import Settings
from controlplane.startup import Startup
from controlplane.store import MemoryStore
from tests.support.control_plane import ON_LOOPBACK

SERVICE_TOKEN = "the-services-token"
ADMIN_PASSWORD = "correct horse"


@dataclass
class ControlPlane:
    """Where it listens, and the parts that tests look into."""

    grpc: str
    url: str
    store: MemoryStore
    fleet: Fleet
    commands: Commands


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HEADGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def controlplane() -> AsyncIterator[ControlPlane]:
    store = MemoryStore()
    watcher, fleet = Watcher(store), Fleet()
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    parts = Parts(Commands(store, hasher, time.time, watcher), watcher, fleet, "0.1.0")
    secrets = {
        "secret_key": "s" * 32,
        "dataplane_token": "d" * 16,
        "service_token": SERVICE_TOKEN,
        "admin_password": ADMIN_PASSWORD,
    }
    settings = Settings.model_validate(secrets)
    async with running(watcher):
        await Startup(settings, store, parts, hasher).run()
        server = await serve(
            listen="127.0.0.1:0",
            hub=Hub(watcher, fleet),
            fleet=fleet,
            commands=parts.commands,
            tokens=lambda: parts.tokens,
            dataplane_tokens=SharedTokens("d" * 16),
            service_tokens=SharedTokens(SERVICE_TOKEN),
            rules=ON_LOOPBACK,
        )
        async with served(parts) as port:
            yield ControlPlane(
                f"127.0.0.1:{server.port}", f"http://127.0.0.1:{port}", store, fleet, parts.commands
            )
        await server.stop()


@asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def served(parts: Parts) -> AsyncIterator[int]:
    config = uvicorn.Config(make_api(parts), port=0, lifespan="off", log_level="warning", ws="none")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    task = asyncio.create_task(server.serve([socket]))
    yield socket.getsockname()[1]
    server.should_exit = True
    await task
