"""The record of shares counts for the next process in the same folder, of the same boot, and for no other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dataplane.supervisor import share_record
from dataplane.supervisor.share_record import ShareRecord, open_folder
from headgate_api.leases.shares import Row
from headgate_api.leases.successor import Share

NOW = 100.0
ROWS = [
    Row("0.1", "callers", "subject", Share(10, 2.0, 3000.0)),
    Row("1.2", "callers", "subject", Share(10, 2.0, 3000.0)),
]


def record(folder: Path) -> ShareRecord:
    """The record as one process sees it, until `end`."""
    return ShareRecord(folder, open_folder(folder))


def end(*processes: ShareRecord) -> None:
    for process in processes:
        os.close(process._fd)


def written(folder: Path) -> None:
    """A process has written its record, and has ended."""
    process = record(folder)
    assert process.take_over("first", NOW, 2) == ("first", [])
    assert process.write("first", ROWS)
    end(process)


def test_the_next_process_goes_on_as_the_same_run(tmp_path: Path) -> None:
    written(tmp_path)
    for _ in range(2):
        process = record(tmp_path)
        assert process.take_over("next", NOW, 2) == ("first", ROWS)
        end(process)


def test_it_takes_over_what_its_workers_can_use(tmp_path: Path) -> None:
    written(tmp_path)
    for workers in (1, 2):
        process = record(tmp_path)
        assert process.take_over("next", NOW, workers) == ("first", ROWS[:1])
        end(process)


@pytest.mark.parametrize("now", [3000.0, -1000.0])
def test_shares_that_lapsed_or_come_from_another_clock_do_not_count(tmp_path: Path, now: float) -> None:
    written(tmp_path)
    assert record(tmp_path).take_over("next", now, 2) == ("next", [])
    assert not (tmp_path / "shares").exists()


def test_a_copy_of_the_folder_does_not_count(tmp_path: Path) -> None:
    written(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert record(tmp_path / "b").take_over("next", NOW, 2) == ("next", [])
    assert record(tmp_path / "a").take_over("next", NOW, 2) == ("first", ROWS)


def test_another_boot_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    here = share_record._place

    def rebooted(folder_fd: int) -> list[str | int] | None:
        place = here(folder_fd)
        return place and ["another boot", *place[1:]]

    monkeypatch.setattr(share_record, "_place", rebooted)
    assert record(tmp_path).take_over("next", NOW, 2) == ("next", [])


def test_a_process_that_may_still_run_has_no_successor(tmp_path: Path) -> None:
    written(tmp_path)
    before, after = record(tmp_path), record(tmp_path)
    assert before.take_over("next", NOW, 2)[0] == "first"
    assert after.take_over("next", NOW, 2) == ("next", [])
    assert not after.write("next", ROWS)
    end(before)
    assert after.write("next", ROWS)


def test_a_worker_that_inherited_the_folder_counts_as_running(tmp_path: Path) -> None:
    written(tmp_path)
    before = record(tmp_path)
    assert before.take_over("next", NOW, 2)[0] == "first"
    inherited = os.dup(before._fd)
    end(before)
    assert record(tmp_path).take_over("next", NOW, 2) == ("next", [])
    os.close(inherited)


def test_a_damaged_record_does_not_count(tmp_path: Path) -> None:
    written(tmp_path)
    content = (tmp_path / "shares").read_bytes()
    for damaged in (content[:-1], b"", b"\0" * len(content)):
        (tmp_path / "shares").write_bytes(damaged)
        assert record(tmp_path).take_over("next", NOW, 2) == ("next", [])


def test_one_that_cannot_be_replaced_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    process = record(tmp_path)
    monkeypatch.setattr(process._cache, "replace", lambda content: False)
    assert process.take_over("next", NOW, 2) == ("next", [])


def test_rows_of_another_shape_are_no_record(tmp_path: Path) -> None:
    process = record(tmp_path)
    rows = [[7, "callers", "subject", [8, 2.0, NOW + 60.0]]]
    process._cache.replace(json.dumps([process._place, "first", rows]).encode())
    assert process.take_over("next", NOW, 2) == ("next", [])


def test_without_a_folder_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = record(tmp_path / "file")
    assert process.take_over("next", NOW, 2) == ("next", [])
    assert not process.write("next", ROWS)
    assert process.clear()
