"""Data planes with limits in Redis: windows of an hour, so that no tokens return during a test.

Redis may take seconds to answer on a busy machine; tests of a Redis that hangs set their own time-out.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from headgate_api.v1 import config_pb2
from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.redis_server import RedisServer

HOUR = 3600.0


def limit(name: str, burst: int, **fields: Any) -> wire.Resource:
    """`burst` requests an hour, counted in Redis."""
    fields = {"mode": pb.LIMIT_MODE_REDIS, **fields}
    return wire.rate_limit(name, per_second=burst / HOUR, burst=burst, **fields)


def snapshot(
    instance: Instance, *limits: wire.Resource, revision: int = 5, **fields: Any
) -> config_pb2.Snapshot:
    """A route "orders" with these limits, and a route "free" without."""
    names = [each.name for each in limits]
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", instance.port),
        wire.route("orders", "orders", rate_limits=names, **fields),
        wire.route("free", "orders"),
        *limits,
        revision=revision,
    )


def node(
    folder: Path, controlplane: FakeControlPlane, server: RedisServer | None = None, **settings: str
) -> DataPlane:
    """A data plane, not started; without a server the settings have the address of Redis."""
    if server is not None:
        settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), **settings}
    settings.setdefault("REDIS_TIMEOUT", "5")
    return DataPlane(folder, controlplane.address, **settings)


async def ask(plane: DataPlane, count: int = 1, **arguments: Any) -> list[int]:
    """The statuses of this number of requests, sent together."""
    answers = await asyncio.gather(*(plane.get("/orders/1", **arguments) for _ in range(count)))
    return [answer.status_code for answer in answers]


async def health(plane: DataPlane) -> Any:
    return (await plane.status("/health")).json()


async def has_lost(plane: DataPlane) -> bool:
    return (await health(plane))["redis"]["connected"] is False


async def has_found(plane: DataPlane) -> bool:
    return (await health(plane))["redis"]["connected"] is True


def messages(plane: DataPlane) -> list[str]:
    return [str(record.get("message")) for record in plane.log()]
