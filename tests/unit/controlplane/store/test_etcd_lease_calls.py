"""What a stream of renewals makes of what is no answer."""

from __future__ import annotations

import struct

import pytest

from controlplane.store.etcd_lease_calls import HandCall, Unexplained
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.http2_call import Http2Call


def data(message: bytes) -> bytes:
    """A DATA frame with one message."""
    payload = b"\0" + struct.pack(">I", len(message)) + message
    return struct.pack(">I", len(payload))[1:] + b"\0\0" + struct.pack(">I", 1) + payload


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
