"""What a store may hold all of a sudden, and what of that is published."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.distribute.guard import Guard
from controlplane.model.lineage import LINEAGE, Lineage, lineage_value, read_lineage
from controlplane.model.stored import key_of
from controlplane.store import Entry

SERVICES = {key_of("service", f"s{number}"): 10 + number for number in range(8)}
FIRST = Lineage("first", 0)


def listed(
    guard: Guard,
    revision: int,
    known: Mapping[str, int] = SERVICES,
    lineage: Lineage | None = FIRST,
    gone: int = 0,
    **changed: int,
) -> str:
    """What the guard thinks of a store that lost `gone` of the services; `changed` are revisions by name."""
    entries = [
        Entry(key, b"{}", changed.get(key.rpartition("/")[2], at))
        for key, at in list(SERVICES.items())[gone:]
    ]
    if lineage is not None:
        entries.append(Entry(LINEAGE, lineage_value(lineage, "admin"), 5))
    guard.listing(entries, revision, known)
    return guard.suspicion


@pytest.fixture
def guard() -> Guard:
    """One that has found a store good at revision 20."""
    guard = Guard()
    assert listed(guard, 20, {}) == ""
    guard.passed(20)
    return guard


def test_a_store_seen_for_the_first_time_is_believed() -> None:
    assert listed(Guard(), 20, {}, lineage=None) == ""


@pytest.mark.parametrize("revision", [20, 21, 5000])
def test_the_same_again_and_what_was_changed_meanwhile(guard: Guard, revision: int) -> None:
    assert listed(guard, revision, s1=20) == ""
    assert listed(guard, revision, gone=4) == ""


def test_a_restored_store_that_is_already_ahead_and_the_former_one_again() -> None:
    guard = Guard()
    entries = [Entry(LINEAGE, lineage_value(FIRST, "admin"), 5)]
    guard.listing(entries, 20, {}, cluster=1)
    guard.passed(20)
    guard.listing(entries, 25, {}, cluster=2)
    assert "restored or replaced" in guard.suspicion
    guard.listing(entries, 30, {}, cluster=1)
    assert guard.suspicion == ""
    guard.listing(entries, 25, {}, cluster=2)
    guard.see(lineage_value(Lineage("first", 1), "admin"), 26)
    assert guard.suspicion == "", "an operator confirmed it"
    guard.passed(26)
    guard.listing([Entry(LINEAGE, lineage_value(Lineage("first", 1), "admin"), 26)], 27, {}, cluster=2)
    assert guard.suspicion == ""


@pytest.mark.parametrize("revision", [3, 5000])
def test_a_wiped_store_whatever_its_revision(guard: Guard, revision: int) -> None:
    guard.listing([], revision, SERVICES)
    assert "emptied or replaced" in guard.suspicion


def test_a_wiped_store_that_was_set_up_anew(guard: Guard) -> None:
    assert "replaced by another one" in listed(guard, 5000, lineage=Lineage("second", 0))


def test_an_older_copy(guard: Guard) -> None:
    assert listed(guard, 19) == "the store went back from revision 20 to 19"


def test_an_older_copy_that_has_passed_what_was_seen(guard: Guard) -> None:
    assert listed(guard, 25, s3=9) == "the store holds older versions of 1 resource than it did"


def test_a_loss_that_nobody_saw(guard: Guard) -> None:
    assert (
        listed(guard, 25, gone=6)
        == "the store lost 6 of 8 resources at once, and no deletion of them was seen"
    )


def test_a_few_deletes_during_an_outage_are_accepted() -> None:
    known = dict(list(SERVICES.items())[:4])
    guard = Guard()
    guard.passed(20)
    guard.listing([], 25, known)
    assert guard.suspicion == ""


def test_registrations_end_by_themselves(guard: Guard) -> None:
    known = {key_of("instance", f"s1/{number}"): 9 for number in range(50)}
    assert listed(guard, 25, {**SERVICES, **known}) == ""


def test_everything_deleted_by_prefix_is_not_what_operators_do(guard: Guard) -> None:
    guard.see(None, 0)
    assert "emptied" in guard.suspicion


def test_what_was_suspected_is_compared_with_what_was_good(guard: Guard) -> None:
    listed(guard, 25, gone=6)
    # Listed again: what was known meanwhile is the suspicious content itself.
    present = dict(list(SERVICES.items())[6:])
    assert "lost 6 of 8" in listed(guard, 26, present, gone=6)
    assert listed(guard, 27, present) == ""


@pytest.mark.parametrize("gone", [0, 8])
def test_an_operator_has_the_last_word(guard: Guard, gone: int) -> None:
    assert listed(guard, 3, gone=gone)
    guard.see(lineage_value(Lineage("second", 1), "admin"), 4)
    assert guard.suspicion == ""
    guard.passed(4)
    assert (guard.good.lineage, guard.good.revision) == (Lineage("second", 1), 4)
    # A word on one store says nothing about the next.
    assert listed(guard, 30, {}, Lineage("third", 0))


def test_the_store_that_was_there_is_back(guard: Guard) -> None:
    assert listed(guard, 5, lineage=None)
    assert listed(guard, 21, {}) == ""


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"null", b'{"id": "a"}', b'{"id": "a", "epoch": []}', b"\xff"]
)
def test_nonsense_is_no_lineage(value: bytes) -> None:
    assert read_lineage(value) == Lineage()
