"""When a watch is taken for dead, and when it is our own event loop that was held up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from controlplane.store.errors import StoreUnavailable
from controlplane.store.etcd_watch import WatchStream
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb

PATIENCE = 0.05
CREATED = pb.WatchResponse(header=pb.ResponseHeader(revision=7), created=True)


class Call:
    """A stream whose answers are given by the test."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[pb.WatchResponse] = asyncio.get_running_loop().create_future()

    async def write(self, request: pb.WatchRequest) -> None:
        """Taken."""

    async def read(self) -> Any:
        return await self.answer

    def cancel(self) -> None:
        self.answer.cancel()


async def test_a_loop_that_was_held_up_is_not_the_silence_of_etcd() -> None:
    loop, call = asyncio.get_running_loop(), Call()

    def held_up() -> None:
        time.sleep(3 * PATIENCE)
        arrive(3)

    def arrive(turns: int) -> None:
        """What lies in a socket is heard some turns of the loop later."""
        if turns:
            loop.call_soon(arrive, turns - 1)
        else:
            call.answer.set_result(CREATED)

    loop.call_later(PATIENCE / 5, held_up)
    stream = WatchStream(call, "etcd:2379", PATIENCE)
    await stream.create("/k/", 5)
    assert stream.created_at == 7


async def test_silence_is_noticed() -> None:
    stream = WatchStream(Call(), "etcd:2379", PATIENCE)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="sends no messages"):
        await stream.create("/k/", 5)
    assert time.monotonic() - began >= PATIENCE
    await stream.close()
