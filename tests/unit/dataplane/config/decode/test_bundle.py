"""Whole configurations: checked on arrival, kept as bytes, handed on as differences in small parts."""

from __future__ import annotations

import pytest

from dataplane.config.decode import NOTHING, Bundle, difference, from_bytes, read_part, to_bytes, unpack
from dataplane.config.decode.bundle import PART_RESOURCES
from dataplane.config.table import TableError
from headgate_api.v1 import config_pb2
from tests.support import wire


def bundle(*resources: wire.Resource, revision: int = 1) -> Bundle:
    return unpack(wire.snapshot(*resources, revision=revision))


def replayed(have: Bundle, want: Bundle) -> dict[tuple[str, str], object]:
    """What a worker that has `have` knows after the difference."""
    known: dict[tuple[str, str], object] = dict.fromkeys(have.resources)
    for data in difference(have, want):
        part = read_part(data)
        assert (part.base_revision, part.base_digest) == (have.revision, have.digest)
        assert (part.revision, part.digest) == (want.revision, want.digest)
        for key in part.removed:
            del known[key]
        known.update(part.changed)
    return known


def test_a_snapshot_becomes_a_bundle() -> None:
    found = bundle(wire.service("orders"), wire.route("orders", "orders"), revision=5)
    assert (found.revision, set(found.resources)) == (5, {("service", "orders"), ("route", "orders")})


def test_the_same_name_in_two_kinds_is_two_resources() -> None:
    assert len(bundle(wire.service("a"), wire.route("a", "a"), wire.user("a")).resources) == 3


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"digest": "0" * 64}, "digest: does not fit the resources of the snapshot"),
        ({"digest": ""}, "digest: does not fit the resources of the snapshot"),
        ({"revision": 0}, "revision: must be 1 or more, not 0"),
        ({"revision": -4}, "revision: must be 1 or more, not -4"),
        ({"resources": [wire.user("bob")]}, "digest: does not fit the resources of the snapshot"),
        ({"resources": [wire.user("alice")]}, "user/alice: is there twice"),
        (
            {"resources": [wire.Resource(name="x", revision=1)]},
            "/x body: is of no kind that this version knows",
        ),
    ],
)
def test_a_snapshot_that_is_not_whole(change: dict[str, object], detail: str) -> None:
    snapshot = wire.snapshot(wire.user("alice"))
    snapshot.MergeFrom(config_pb2.Snapshot(**change))  # type: ignore[arg-type]
    for name in {"digest", "revision"} & set(change):
        setattr(snapshot, name, change[name])
    with pytest.raises(TableError) as caught:
        unpack(snapshot)
    assert [str(problem) for problem in caught.value.problems] == [detail]


def test_bytes_and_back() -> None:
    found = bundle(wire.service("orders"), wire.user("alice", "a:b"), revision=9)
    assert from_bytes(to_bytes(found)) == found


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", b"nonsense", to_bytes(NOTHING)])
def test_other_bytes(data: bytes) -> None:
    with pytest.raises(TableError):
        from_bytes(data)


def test_from_nothing_to_everything() -> None:
    want = bundle(*(wire.user(f"user-{number}") for number in range(3 * PART_RESOURCES + 1)))
    assert set(replayed(NOTHING, want)) == set(want.resources)
    assert len(list(difference(NOTHING, want))) == 4


def test_only_what_differs() -> None:
    have = bundle(wire.user("alice"), wire.user("bob"), wire.user("carol"))
    want = bundle(
        wire.user("alice"),
        wire.user("bob", "new:scope", revision=2),
        wire.user("dan", revision=2),
        revision=2,
    )
    (data,) = difference(have, want)
    part = read_part(data)
    assert {key for key, _ in part.changed} == {("user", "bob"), ("user", "dan")}
    assert part.removed == (("user", "carol"),)
    assert set(replayed(have, want)) == set(want.resources)


def test_a_revision_that_changes_nothing_is_one_empty_part() -> None:
    have, want = bundle(wire.user("alice")), bundle(wire.user("alice"), revision=2)
    (data,) = difference(have, want)
    assert read_part(data).changed == ()


def test_a_resource_with_another_content_under_the_same_revision_is_sent() -> None:
    """A store restored from a backup counts its revisions again."""
    have, want = bundle(wire.user("alice")), bundle(wire.user("alice", "other:scope"))
    (data,) = difference(have, want)
    assert len(read_part(data).changed) == 1


def test_every_problem_of_a_part_is_told() -> None:
    want = bundle(wire.user("alice", "a b"), wire.user("bob", revision=0), wire.user("carol"))
    (data,) = difference(NOTHING, want)
    part = read_part(data)
    assert [problem.resource for problem in part.problems] == ["user/alice", "user/bob"]
    assert [key for key, _ in part.changed] == [("user", "carol")]
