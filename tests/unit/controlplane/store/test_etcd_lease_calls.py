"""What a stream of renewals makes of what is no answer."""

from __future__ import annotations

import asyncio
import struct

import pytest

from controlplane.store import etcd_lease_calls
from controlplane.store.etcd_lease_calls import HandCall, Unexplained
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.http2_call import Http2Call


def data(message: bytes) -> bytes:
    """A DATA frame with one message."""
    payload = b"\0" + struct.pack(">I", len(message)) + message
    return struct.pack(">I", len(payload))[1:] + b"\0\0" + struct.pack(">I", 1) + payload


def pings(count: int) -> bytes:
    """PING frames, each of which wants an answer."""
    return (b"\0\0\x08\x06\0\0\0\0\0" + b"12345678") * count


class Unread(asyncio.Transport):
    """Nobody reads what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted = True


def call() -> HandCall:
    return HandCall("store:2379", Http2Call("/a.Service/Method", "store:2379", False, ()))


async def test_messages_are_answers() -> None:
    made = call()
    made.data_received(data(pb.LeaseKeepAliveResponse(id=7, ttl=30).SerializeToString()))
    assert [(answer.id, answer.ttl) for answer in await made.read()] == [(7, 30)]


async def test_a_message_that_is_no_answer_leaves_it_to_grpc() -> None:
    made = call()
    made.data_received(data(b"\xff"))
    with pytest.raises(Unexplained, match="store:2379"):
        await made.read()


async def test_who_sends_pings_and_reads_no_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_lease_calls, "MOST_UNWRITTEN", 100_000)
    made, transport = call(), Unread()
    made.connection_made(transport)
    for _ in range(100):
        made.data_received(pings(1000))
    assert transport.aborted and transport.waiting < 200_000
    with pytest.raises(Unexplained, match="does not read"):
        await made.read()


async def test_who_grants_no_window_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_lease_calls, "MOST_UNWRITTEN", 100_000)
    made, transport = call(), Unread()
    made.connection_made(transport)
    for _ in range(100):
        await made.write(range(1000))
        transport.waiting = 0  # read, and no more allowed
    assert transport.aborted
    with pytest.raises(Unexplained, match="does not read"):
        await made.read()
