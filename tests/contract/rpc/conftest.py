"""A control plane on loopback with a signing key, and connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from controlplane.identity import KeyRing
from tests.support.control_plane import ControlPlane, make_ring


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return make_ring()


@pytest.fixture
async def plane(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(ring) as plane:
        await plane.watcher.caught_up.wait()
        yield plane


@pytest.fixture
async def channel(plane: ControlPlane) -> AsyncIterator[grpc.aio.Channel]:
    async with plane.channel() as channel:
        yield channel
