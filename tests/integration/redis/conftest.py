"""A Redis, a control plane that tests drive, and an instance that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support import fake_controlplane, redis_server
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """Empty; for tests that leave it running."""
    shared_server.client().flushall()
    return shared_server


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that kill or freeze it."""
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def controlplane() -> AsyncIterator[FakeControlPlane]:
    async with fake_controlplane.running() as fake:
        yield fake


@pytest.fixture
async def orders() -> AsyncIterator[Instance]:
    async with Instance("orders-1") as instance:
        yield instance
