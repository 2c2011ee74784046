"""The cache on disk: whatever happens to the file, loading gives the payload or a warning."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.config.cache import LEAST_GROWTH, Cache

PAYLOAD = bytes(range(256)) * 40

Damage = Callable[[Path], object]


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "node"


def test_what_was_written_is_loaded_in_order(folder: Path) -> None:
    writing = Cache(folder)
    assert writing.replace(b"one") and writing.append(b"two") and writing.append(b"")
    cache = Cache(folder)
    assert (cache.load(), cache.whole, cache.warnings, cache.problem) == ([b"one", b"two", b""], True, 0, "")
    assert cache.append(PAYLOAD)
    assert Cache(folder).load() == [b"one", b"two", b"", PAYLOAD]


def test_a_new_file_replaces_the_older(folder: Path) -> None:
    cache = Cache(folder)
    for payload in (b"one", b"two", b""):
        cache.replace(payload)
        cache.append(b"more")
        assert cache.load() == [payload, b"more"]
    assert [path.name for path in folder.iterdir()] == ["table"]


def test_it_has_grown_when_changes_take_more_room_than_the_whole(folder: Path) -> None:
    def has_grown() -> bool:
        return cache.grown

    cache = Cache(folder)
    cache.replace(bytes(LEAST_GROWTH))
    cache.append(bytes(LEAST_GROWTH // 2))
    assert not has_grown()
    cache.append(bytes(LEAST_GROWTH // 2))
    assert has_grown()
    cache.load()
    assert has_grown()
    cache.replace(b"")
    assert not has_grown()


def test_what_is_cleared_is_gone(folder: Path) -> None:
    cache = Cache(folder)
    cache.replace(PAYLOAD)
    assert cache.clear() and cache.clear()
    assert (cache.load(), cache.whole, cache.warnings) == ([], False, 0)


def test_what_is_not_there_need_not_be_cleared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file system refuses before it looks. Each answer of a limit's owner would try again."""

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    cache = Cache(folder)
    cache.replace(PAYLOAD)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert not cache.clear() and cache.warnings == 1
    (folder / "table").rename(folder / "elsewhere")
    assert cache.clear() and cache.warnings == 1


def test_only_the_owner_may_look(folder: Path) -> None:
    Cache(folder).replace(PAYLOAD)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "table").stat().st_mode) == 0o600


def test_nothing_there_is_no_warning(folder: Path) -> None:
    cache = Cache(folder)
    assert (cache.load(), cache.warnings) == ([], 0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b""), "is not a Headgate cache"),
        (lambda file: file.write_bytes(b"\n"), "is not a Headgate cache"),
        (lambda file: file.write_bytes(b"hello world"), "is not a Headgate cache"),
        (lambda file: file.write_bytes(file.read_bytes()[:10]), "is not a Headgate cache"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "is damaged: record 1 is truncated"),
        (lambda file: file.write_bytes(file.read_bytes()[:30]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), "is damaged: record 2 is truncated"),
        (lambda file: file.write_bytes(file.read_bytes().replace(b"\x07", b"\x08", 1)), "is damaged"),
        (
            lambda file: file.write_bytes(file.read_bytes().replace(b"cache 2", b"cache 1 0a 7")),
            "has format 1",
        ),
        (lambda file: (file.unlink(), file.mkdir()), "is not a regular file"),
        (replace_by_pipe, "is not a regular file"),
        (lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")), "symbolic links"),
        (lambda file: file.chmod(0o666), "is owned or writable by another user"),
    ],
)
def test_a_file_that_cannot_be_trusted(
    folder: Path, damage: Damage, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    Cache(folder).replace(PAYLOAD)
    damage(folder / "table")
    cache = Cache(folder)
    cache.load()
    assert cache.warnings == 1
    assert not cache.whole
    assert reason in cache.problem
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_first_record_cut_anywhere(folder: Path, at: int) -> None:
    Cache(folder).replace(PAYLOAD)
    content = (folder / "table").read_bytes()
    (folder / "table").write_bytes(content[:at])
    assert Cache(folder).load() == []


@pytest.mark.parametrize("cut", range(1, 41))
def test_a_later_record_cut_anywhere(folder: Path, cut: int) -> None:
    """What a process leaves behind that is killed while it appends."""
    cache = Cache(folder)
    cache.replace(b"one")
    cache.append(b"two")
    cache.append(b"four")
    content = (folder / "table").read_bytes()
    (folder / "table").write_bytes(content[:-cut])
    assert (cache.load(), cache.whole) == ([b"one", b"two"], cut == 40)


def test_a_damaged_record_hides_those_after_it(folder: Path) -> None:
    cache = Cache(folder)
    for record in (b"one", b"two", b"three"):
        cache.append(record) if cache.whole else cache.replace(record)
    content = (folder / "table").read_bytes()
    (folder / "table").write_bytes(content.replace(b"two", b"too"))
    assert (cache.load(), cache.whole, cache.warnings) == ([b"one"], False, 1)


def test_nothing_is_appended_to_what_another_process_wrote(folder: Path) -> None:
    cache, other = Cache(folder), Cache(folder)
    cache.replace(b"ours")
    other.replace(b"theirs, and longer")
    assert not cache.append(b"more of ours")
    assert "was changed by another process" in cache.problem
    assert not cache.whole
    assert other.load() == [b"theirs, and longer"]


def test_a_damaged_file_is_replaced_by_a_new_one(folder: Path) -> None:
    Cache(folder).replace(PAYLOAD)
    (folder / "table").write_bytes(b"broken")
    cache = Cache(folder)
    assert cache.load() == []
    cache.replace(b"new")
    assert (cache.load(), cache.problem) == ([b"new"], "")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = Cache(tmp_path / "cache" / "node")
    assert not cache.replace(PAYLOAD)
    assert cache.warnings == 1
    assert "Not a directory" in cache.problem


def test_a_disk_that_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder)
    cache.replace(PAYLOAD)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    assert not cache.replace(b"new")
    assert "No space left" in cache.problem
    assert [path.name for path in folder.iterdir()] == ["table"]
    cache.sync()
    assert cache.warnings == 2
    monkeypatch.undo()
    assert cache.load() == [PAYLOAD]


def test_what_a_killed_process_left_behind_is_cleared(folder: Path) -> None:
    cache = Cache(folder)
    cache.replace(PAYLOAD)
    (folder / "table.4711.tmp").write_bytes(b"half")
    assert cache.load() == [PAYLOAD]
    cache.replace(b"new")
    assert [path.name for path in folder.iterdir()] == ["table"]


def test_a_file_that_is_gone_needs_no_sync(folder: Path) -> None:
    cache = Cache(folder)
    cache.sync()
    assert cache.warnings == 0
    cache.replace(PAYLOAD)
    cache.sync()
    (folder / "table").chmod(0o666)
    cache.sync()
    assert "is owned or writable by another user" in cache.problem


def test_the_same_failure_is_logged_once_until_a_write_succeeds(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, blocked = Cache(folder / "below"), folder / "below"
    caplog.set_level(logging.INFO)
    for _ in range(2):
        folder.mkdir(parents=True, exist_ok=True)
        blocked.write_text("a file where the folder has to be")
        for _ in range(3):
            assert not cache.replace(b"one")
        assert cache.problem
        blocked.unlink()
        assert cache.replace(b"one")
        assert cache.problem == ""
        shutil.rmtree(blocked)
    assert cache.warnings == 6
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
