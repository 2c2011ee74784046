"""A control plane on loopback, and connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from tests.support.control_plane import ControlPlane


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane() as plane:
        await plane.watcher.caught_up.wait()
        yield plane


@pytest.fixture
async def channel(plane: ControlPlane) -> AsyncIterator[grpc.aio.Channel]:
    async with plane.channel() as channel:
        yield channel
