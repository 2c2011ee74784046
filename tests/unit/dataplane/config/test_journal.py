"""The configuration on disk, change by change: what is found after a restart at any moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataplane.config import cache as cache_module
from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, Bundle, difference, unpack
from dataplane.config.journal import Journal
from tests.support import wire


def bundle(revision: int) -> Bundle:
    """Many users that stay, and one that changes."""
    users = [wire.user(f"user-{number}") for number in range(100)]
    return unpack(
        wire.snapshot(*users, wire.user("alice", f"r:{revision}", revision=revision), revision=revision)
    )


FIVE, SIX, SEVEN, EIGHT = map(bundle, (5, 6, 7, 8))


class Disk:
    """A data plane's disk, and what writes to it in this life of the data plane."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "table"
        self.cache = Cache(folder)
        self.journal = Journal(self.cache)

    def serve(self, *bundles: Bundle) -> None:
        """From nothing to the first, and on to each of the others."""
        before = NOTHING
        for one in bundles:
            self.write(before, one)
            before = one

    def write(self, served: Bundle, one: Bundle) -> None:
        self.journal.write(served, one, list(difference(served, one)))

    def found(self, **arguments: bool) -> Bundle | None:
        """What another life finds."""
        return Journal(Cache(self.file.parent)).load(**arguments)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_every_change_is_found(disk: Disk) -> None:
    before = NOTHING
    for one in (FIVE, SIX, replace(SIX, revision=7, lineage="a", epoch=3), EIGHT):
        disk.write(before, one)
        assert disk.found() == one
        before = one


def test_nothing_was_written(disk: Disk) -> None:
    assert (disk.found(), disk.found(before_last=True)) == (None, None)


def test_a_change_costs_what_it_changes(disk: Disk) -> None:
    disk.serve(FIVE)
    whole = disk.file.stat().st_size
    disk.write(FIVE, SIX)
    assert disk.file.stat().st_size - whole < 256


def test_before_the_last_change(disk: Disk) -> None:
    disk.serve(FIVE, SIX)
    assert disk.found(before_last=True) == FIVE
    disk.serve(FIVE)
    assert disk.found(before_last=True) is None


def test_a_change_after_a_restart_is_one_more(disk: Disk) -> None:
    disk.serve(FIVE, SIX)
    size = disk.file.stat().st_size
    journal = Journal(Cache(disk.file.parent))
    served = journal.load()
    assert served == SIX
    journal.write(served, SEVEN, list(difference(served, SEVEN)))
    assert disk.found() == SEVEN
    assert disk.file.read_bytes()[:size].startswith(b"headgate-cache 2\n")
    assert disk.found(before_last=True) == SIX


def test_what_is_not_served_is_taken_back(disk: Disk) -> None:
    disk.serve(FIVE, SIX)
    assert disk.journal.compact(FIVE)
    assert (disk.found(), disk.found(before_last=True)) == (FIVE, None)
    disk.write(FIVE, SEVEN)
    assert disk.found() == SEVEN
    disk.journal.compact(NOTHING)
    assert disk.found() is None


def test_a_first_configuration_that_is_not_served_is_replaced(disk: Disk) -> None:
    disk.write(NOTHING, FIVE)
    disk.write(NOTHING, SIX)
    assert (disk.found(), disk.found(before_last=True)) == (SIX, None)


def test_changes_that_have_grown_are_replaced_by_the_whole(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.serve(FIVE, SIX, SEVEN)
    size = disk.file.stat().st_size
    disk.journal.compact(SEVEN)
    assert disk.file.stat().st_size == size
    monkeypatch.setattr(cache_module, "LEAST_GROWTH", 0)
    many = [bundle(revision) for revision in range(8, 80)]
    for before, one in zip((SEVEN, *many), many, strict=False):
        disk.write(before, one)
    assert disk.cache.grown
    disk.journal.compact(many[-1])
    assert disk.file.stat().st_size < 2 * size
    assert disk.found() == many[-1]


def test_a_tail_that_is_torn_is_cut_off_before_anything_follows(disk: Disk) -> None:
    disk.serve(FIVE, SIX, SEVEN)
    disk.file.write_bytes(disk.file.read_bytes()[:-3])
    later = Disk(disk.file.parent)
    served = later.journal.load()
    assert (served, later.cache.warnings) == (SIX, 1)
    later.write(SIX, EIGHT)
    assert (disk.found(), disk.found(before_last=True)) == (EIGHT, SIX)


def test_records_that_make_no_sense_are_a_warning(disk: Disk) -> None:
    disk.cache.replace(b"nonsense")
    assert disk.journal.load() is None
    assert (disk.cache.warnings, "is not a change" in disk.cache.problem) == (1, True)


def test_a_disk_that_refuses_is_asked_again_by_and_by(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.serve(FIVE)
    folder = disk.file.parent
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("a file where the folder should be")
    disk.write(FIVE, SIX)
    disk.write(SIX, SEVEN)
    # The first change found out; the second did not try.
    assert (disk.journal.refused, disk.cache.warnings) == (True, 1)
    assert not disk.journal.compact(SEVEN)
    assert disk.cache.warnings == 2
    folder.unlink()
    away.rename(folder)
    assert disk.found() == FIVE
    assert disk.journal.compact(SEVEN)
    assert (disk.found(), disk.journal.refused, disk.cache.problem) == (SEVEN, False, "")
