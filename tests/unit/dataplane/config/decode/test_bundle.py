"""Whole configurations: checked on arrival, kept as bytes, handed on as differences in small parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.config.decode import NOTHING, Bundle, difference, read_part, replayed, unpack
from dataplane.config.decode.bundle import PART_RESOURCES
from dataplane.config.table import TableError
from headgate_api.v1 import config_pb2
from tests.support import wire


def bundle(*resources: wire.Resource, revision: int = 1) -> Bundle:
    return unpack(wire.snapshot(*resources, revision=revision))


def taken(have: Bundle, want: Bundle) -> dict[tuple[str, str], object]:
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
        ({"digest": "0" * 64}, "digest: does not match the resources of the snapshot"),
        ({"digest": ""}, "digest: does not match the resources of the snapshot"),
        ({"revision": 0}, "revision: must be 1 or more, not 0"),
        ({"revision": -4}, "revision: must be 1 or more, not -4"),
        ({"resources": [wire.user("bob")]}, "digest: does not match the resources of the snapshot"),
        ({"resources": [wire.user("alice")]}, "user/alice: is there twice"),
        (
            {"resources": [wire.Resource(name="x", revision=1)]},
            "/x body: has a kind that this version does not know",
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


def record(have: Bundle, want: Bundle) -> bytes:
    return b"".join(difference(have, want))


def test_changes_in_a_row_lead_to_the_last() -> None:
    many = [wire.user(f"user-{number}") for number in range(2 * PART_RESOURCES)]
    first = replace(bundle(*many, wire.service("orders"), revision=7), lineage="a", epoch=3)
    second = replace(
        bundle(*many[1:], wire.user("alice", "a:b", revision=8), revision=9), lineage="a", epoch=4
    )
    later = replace(second, revision=10)
    steps = [record(NOTHING, first), record(first, second), record(second, later)]
    assert [replayed(steps[:count]) for count in (1, 2, 3)] == [first, second, later]


FIRST, SECOND = bundle(wire.user("alice")), bundle(wire.user("bob", revision=2), revision=2)


@pytest.mark.parametrize(
    ("records", "detail"),
    [
        ([], "digest: does not match the resources"),
        ([b""], "digest: does not match the resources"),
        ([b"\xff\xff\xff"], "is not a change"),
        ([record(FIRST, SECOND)], "base_digest: does not follow the previous change"),
        ([record(NOTHING, FIRST)] * 2, "base_digest: does not follow the previous change"),
        ([record(NOTHING, replace(FIRST, digest="0" * 64))], "digest: does not match the resources"),
    ],
)
def test_records_that_make_no_bundle(records: list[bytes], detail: str) -> None:
    with pytest.raises(TableError, match=detail):
        replayed(records)


def test_from_nothing_to_everything() -> None:
    want = bundle(*(wire.user(f"user-{number}") for number in range(3 * PART_RESOURCES + 1)))
    assert set(taken(NOTHING, want)) == set(want.resources)
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
    assert set(taken(have, want)) == set(want.resources)


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
