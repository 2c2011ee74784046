"""Keys and transactions as etcd wants them."""

from __future__ import annotations

import pytest

from controlplane.store import Delete, Entry, Put
from controlplane.store.etcd_wire import (
    conflicts,
    decode,
    encode,
    entry,
    key_range,
    transaction,
    watch_request,
)
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb


@pytest.mark.parametrize(
    ("prefix", "start", "end"),
    [
        ("/a/", b"/a/", b"/a0"),
        ("a", b"a", b"b"),
        ("é", b"\xc3\xa9", b"\xc3\xaa"),
        ("a\udcff", b"a\xff", b"b"),
        ("\udcff\udcff", b"\xff\xff", b"\0"),
        ("", b"\0", b"\0"),
    ],
)
def test_the_range_of_a_prefix(prefix: str, start: bytes, end: bytes) -> None:
    assert key_range(prefix) == (start, end)


def test_keys_that_are_no_text_survive() -> None:
    assert encode(decode(b"/a/\xff\x80")) == b"/a/\xff\x80"


def test_an_entry() -> None:
    pair = pb.KeyValue(key=b"/a", value=b"v", mod_revision=7, create_revision=3, version=2, lease=9)
    assert entry(pair) == Entry("/a", b"v", 7, 9)
    assert entry(pair).created == 3


def test_a_transaction() -> None:
    request = transaction({"/a": 7, "/b": 0}, [Put("/a", b"v", lease=3), Delete("/c")])
    assert [(c.key, c.target, c.result, c.mod_revision) for c in request.compare] == [
        (b"/a", pb.Compare.MOD, pb.Compare.EQUAL, 7),
        (b"/b", pb.Compare.MOD, pb.Compare.EQUAL, 0),
    ]
    # An expected revision of 0 must be on the wire: without it etcd compares nothing.
    assert all(c.WhichOneof("target_union") == "mod_revision" for c in request.compare)
    put, delete = request.success
    assert (put.request_put.key, put.request_put.value, put.request_put.lease) == (b"/a", b"v", 3)
    assert delete.request_delete_range.key == b"/c"
    assert [op.request_range.key for op in request.failure] == [b"/a", b"/b"]


def test_which_keys_conflict() -> None:
    def found(*pairs: pb.KeyValue) -> pb.ResponseOp:
        return pb.ResponseOp(response_range=pb.RangeResponse(kvs=pairs))

    response = pb.TxnResponse(
        responses=[found(pb.KeyValue(mod_revision=7)), found(), found(pb.KeyValue(mod_revision=8)), found()]
    )
    expected = {"/same": 7, "/absent": 0, "/changed": 5, "/deleted": 5}
    assert list(conflicts(expected, response)) == ["/changed", "/deleted"]


@pytest.mark.parametrize(("after", "start"), [(41, 41), (1, 1), (0, 1)])
def test_a_watch_starts_at_what_is_known(after: int, start: int) -> None:
    request = watch_request("/a/", after).create_request
    assert (request.key, request.range_end, request.start_revision) == (b"/a/", b"/a0", start)
    assert request.fragment
    assert request.progress_notify
