"""Resources of other versions: what is not known is kept and passed on, what is needed and not known is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config.decode import NOTHING, decode, difference, read_part, replayed, unpack, whole
from dataplane.config.table import TableError
from headgate_api.v1 import config_pb2, resources_pb2
from tests.support import wire
from tests.support.skew import MARK, UNKNOWN_MESSAGE, later, marks, released

EVERYTHING = (
    wire.service("orders"),
    wire.instance("orders", "a", 9001, metadata={"zone": "b"}),
    wire.route("orders", "orders", rate_limits=["slow"]),
    wire.rate_limit("slow"),
    wire.user("ann", "orders:read"),
    wire.verification_key("k1"),
    wire.reset("circuit-orders", circuit="orders"),
)


@pytest.mark.parametrize("resource", EVERYTHING, ids=lambda resource: resource.WhichOneof("body"))
def test_what_a_later_version_adds_changes_nothing(resource: wire.Resource) -> None:
    newer = later(resource)
    assert marks(newer) >= 2
    assert decode(newer) == decode(resource)


@pytest.mark.parametrize("resource", EVERYTHING, ids=lambda resource: resource.WhichOneof("body"))
def test_what_the_last_release_sent_is_understood(resource: wire.Resource) -> None:
    decode(released(resource))


def test_the_cache_keeps_what_it_does_not_know() -> None:
    snapshot = later(wire.snapshot(*EVERYTHING))
    expected = sum(marks(resource) for resource in snapshot.resources)
    kept = whole(unpack(snapshot))
    assert marks(kept) == expected
    # And once more, as after a restart.
    assert marks(whole(replayed([kept]))) == expected


def test_a_change_of_what_is_not_known_is_a_change() -> None:
    before = unpack(wire.snapshot(*EVERYTHING))
    newer = config_pb2.Snapshot(revision=2, digest=wire.digest(*EVERYTHING))
    newer.resources.extend([later(EVERYTHING[0]), *EVERYTHING[1:]])
    (part,) = difference(before, unpack(newer))
    assert MARK.encode() in part
    assert [key for key, _ in read_part(part).changed] == [("service", "orders")]


@pytest.mark.parametrize(
    ("resource", "field"),
    [
        (wire.service("orders", load_balancer=77), "load_balancer"),
        (
            wire.service("orders", retries=resources_pb2.Retries(attempts=1, on=["telepathy"])),
            "retries.on[0]",
        ),
        (wire.rate_limit("slow", key=77), "key"),
        (wire.rate_limit("slow", mode=77), "mode"),
    ],
)
def test_a_word_that_is_needed_and_not_known_is_refused_by_name(resource: Any, field: str) -> None:
    with pytest.raises(TableError) as caught:
        decode(resource)
    (problem,) = caught.value.problems
    assert problem.resource == f"{resource.WhichOneof('body')}/{resource.name}"
    assert problem.field == field


def test_a_kind_that_is_not_known_is_refused_by_name() -> None:
    unknown = wire.Resource.FromString(
        wire.Resource(name="of-tomorrow", revision=1).SerializeToString() + UNKNOWN_MESSAGE
    )
    snapshot = config_pb2.Snapshot(revision=1, digest="", resources=[unknown])
    with pytest.raises(
        TableError, match="/of-tomorrow body: has a kind that this version does not know"
    ) as caught:
        unpack(snapshot)
    assert [str(problem.resource) for problem in caught.value.problems] == ["/of-tomorrow"]


def test_nothing_is_the_same_in_every_version() -> None:
    assert unpack(later(wire.snapshot())).resources == NOTHING.resources
