"""Scripts of watch responses and the batches they make."""

from __future__ import annotations

import pytest

from controlplane.store import AccessDenied, Batch, Compacted, StoreError, StoreUnavailable
from controlplane.store.etcd_batches import Assembly
from controlplane.store.etcd_errors import TokenRefused
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb


def put(key: str, revision: int) -> pb.Event:
    return pb.Event(type=pb.Event.PUT, kv=pb.KeyValue(key=key.encode(), mod_revision=revision, value=b"v"))


def delete(key: str, revision: int) -> pb.Event:
    return pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=key.encode(), mod_revision=revision))


def response(
    *events: pb.Event, revision: int = 0, fragment: bool = False, watch_id: int = 0
) -> pb.WatchResponse:
    header = pb.ResponseHeader(
        revision=revision or max((event.kv.mod_revision for event in events), default=0)
    )
    return pb.WatchResponse(header=header, watch_id=watch_id, fragment=fragment, events=events)


def sketch(batches: list[Batch]) -> list[str]:
    """'5 +a -b': revision, what was put, what was deleted."""
    return [
        " ".join([str(b.revision), *(f"+{e.key}" for e in b.puts), *(f"-{key}" for key in b.deletes)])
        for b in batches
    ]


def test_taken_on() -> None:
    assembly = Assembly(4)
    assert assembly.created_at is None
    assert assembly.add(pb.WatchResponse(created=True, header=pb.ResponseHeader(revision=9))) == []
    assert assembly.created_at == 9


def test_one_batch_a_revision() -> None:
    made = Assembly(4).add(response(put("a", 5), delete("b", 5), put("a", 6), delete("a", 8)))
    assert sketch(made) == ["5 +a -b", "6 +a", "8 -a"]


def test_fragments_are_joined_before_revisions_are_told_apart() -> None:
    assembly = Assembly(4)
    assert assembly.add(response(put("a", 5), put("a", 6), fragment=True)) == []
    assert assembly.add(response(put("b", 6), fragment=True)) == []
    assert sketch(assembly.add(response(put("c", 6), put("a", 7)))) == ["5 +a", "6 +a +b +c", "7 +a"]


def test_the_revision_is_that_of_the_events_and_not_the_stores() -> None:
    # A watch that catches up gets a thousand revisions at a time, under the newest revision of the store.
    assembly = Assembly(4)
    assert sketch(assembly.add(response(put("a", 5), revision=9000))) == ["5 +a"]
    assert sketch(assembly.add(response(put("a", 6), revision=9000))) == ["6 +a"]


def test_what_happened_at_the_position_itself_is_known_already() -> None:
    assert sketch(Assembly(4).add(response(put("a", 4), delete("b", 4), put("a", 5)))) == ["5 +a"]


def test_nothing_twice() -> None:
    assembly = Assembly(4)
    assembly.add(response(put("a", 5)))
    assert sketch(assembly.add(response(put("a", 4), put("a", 5), put("a", 6)))) == ["6 +a"]


def test_a_notice_of_the_watch_itself_is_a_progress_mark() -> None:
    assembly = Assembly(4)
    assert assembly.add(response(revision=9)) == [Batch(9)]
    assert assembly.add(response(revision=9)) == []
    assert assembly.add(response(revision=8)) == []


def test_the_answer_to_a_progress_request_is_only_a_sign_of_life() -> None:
    assembly = Assembly(4)
    assert assembly.add(response(revision=9, watch_id=-1)) == []
    # etcd before 3.5.9 may send it ahead of events up to that revision.
    assert sketch(assembly.add(response(put("a", 7)))) == ["7 +a"]


def test_compacted() -> None:
    with pytest.raises(Compacted) as compacted:
        Assembly(4).add(pb.WatchResponse(canceled=True, compact_revision=70))
    assert compacted.value.revision == 70


@pytest.mark.parametrize("watch_id", [-1, 0])
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", AccessDenied),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", TokenRefused),
        ("etcdserver: no leader", StoreUnavailable),
        ("", StoreUnavailable),
    ],
)
def test_refused_inside_the_stream(watch_id: int, reason: str, kind: type[StoreError]) -> None:
    assembly = Assembly(4)
    refusal = pb.WatchResponse(created=True, canceled=True, watch_id=watch_id, cancel_reason=reason)
    with pytest.raises(kind):
        assembly.add(refusal)
    assert assembly.created_at is None
