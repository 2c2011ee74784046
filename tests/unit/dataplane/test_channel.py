"""Frames between supervisor and worker."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from dataplane.channel import Channel, ChannelError, Kind, read_json


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(*await asyncio.open_connection(sock=ours))
    with theirs:
        yield channel, theirs
    await channel.close()


async def test_frames_arrive_in_order_and_whole() -> None:
    one, two = socket.socketpair()
    left, right = (
        Channel(*await asyncio.open_connection(sock=one)),
        Channel(*await asyncio.open_connection(sock=two)),
    )
    big = bytes(300_000)
    left.send(Kind.PART, big)
    left.send(Kind.SERVE)
    left.send_json(Kind.HEALTH, ["orders/o-1"])
    assert await right.receive() == (Kind.PART, big)
    assert await right.receive() == (Kind.SERVE, b"")
    kind, payload = await right.receive() or (None, b"")
    assert (kind, read_json(payload)) == (Kind.HEALTH, ["orders/o-1"])
    await left.close()
    assert await right.receive() is None
    await right.close()


async def test_a_frame_cut_short_is_the_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(struct.pack(">IB", 10, Kind.STATS) + b"half")
    other.close()
    assert await channel.receive() is None


@pytest.mark.parametrize("header", [struct.pack(">IB", 0, 99), struct.pack(">IB", 2**32 - 1, Kind.STATS)])
async def test_nonsense(ends: tuple[Channel, socket.socket], header: bytes) -> None:
    channel, other = ends
    other.sendall(header)
    with pytest.raises(ChannelError):
        await channel.receive()


async def test_sending_to_one_who_is_gone_is_no_error(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    for _ in range(10):
        channel.send(Kind.STATS, bytes(100_000))
        await asyncio.sleep(0)
    assert await channel.receive() is None


def test_json_that_is_none() -> None:
    with pytest.raises(ChannelError):
        read_json(b"{")
