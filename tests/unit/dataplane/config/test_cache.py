"""The cache on disk: whatever happens to the file, loading gives the payload or a warning."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.config.cache import Cache

PAYLOAD = bytes(range(256)) * 40

Damage = Callable[[Path], object]


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "node"


def test_what_was_saved_is_loaded(folder: Path) -> None:
    Cache(folder).save(PAYLOAD)
    cache = Cache(folder)
    assert (cache.load(), cache.warnings, cache.problem) == (PAYLOAD, 0, "")


def test_the_latest_replaces_the_older(folder: Path) -> None:
    cache = Cache(folder)
    for payload in (b"one", b"two", b""):
        cache.save(payload)
        assert cache.load() == payload
    assert [path.name for path in folder.iterdir()] == ["table"]


def test_only_the_owner_may_look(folder: Path) -> None:
    Cache(folder).save(PAYLOAD)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "table").stat().st_mode) == 0o600


def test_nothing_there_is_no_warning(folder: Path) -> None:
    cache = Cache(folder)
    assert (cache.load(), cache.warnings) == (None, 0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b""), "is not a Headgate cache"),
        (lambda file: file.write_bytes(b"\n"), "is not a Headgate cache"),
        (lambda file: file.write_bytes(b"hello world"), "is not a Headgate cache"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:30]), "is not a Headgate cache"),
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes().replace(b"\x07", b"\x08", 1)), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes().replace(b"cache 1 ", b"cache 2 ")), "has format 2"),
        (lambda file: (file.unlink(), file.mkdir()), "is not a regular file"),
        (replace_by_pipe, "is not a regular file"),
        (lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")), "symbolic links"),
        (lambda file: file.chmod(0o666), "could have been written by another user"),
    ],
)
def test_a_file_that_cannot_be_trusted(
    folder: Path, damage: Damage, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    Cache(folder).save(PAYLOAD)
    damage(folder / "table")
    cache = Cache(folder)
    assert cache.load() is None
    assert cache.warnings == 1
    assert reason in cache.problem
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_file_cut_anywhere(folder: Path, at: int) -> None:
    Cache(folder).save(PAYLOAD)
    content = (folder / "table").read_bytes()
    (folder / "table").write_bytes(content[:at])
    assert Cache(folder).load() is None


def test_a_damaged_file_is_replaced_by_the_next_save(folder: Path) -> None:
    Cache(folder).save(PAYLOAD)
    (folder / "table").write_bytes(b"broken")
    cache = Cache(folder)
    assert cache.load() is None
    cache.save(b"new")
    assert (cache.load(), cache.problem) == (b"new", "")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = Cache(tmp_path / "cache" / "node")
    cache.save(PAYLOAD)
    assert cache.warnings == 1
    assert "Not a directory" in cache.problem


def test_a_disk_that_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder)
    cache.save(PAYLOAD)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    cache.save(b"new")
    assert "No space left" in cache.problem
    assert [path.name for path in folder.iterdir()] == ["table"]
    monkeypatch.undo()
    assert cache.load() == PAYLOAD


def test_what_a_killed_process_left_behind_is_cleared(folder: Path) -> None:
    cache = Cache(folder)
    cache.save(PAYLOAD)
    (folder / "table.4711.tmp").write_bytes(b"half")
    assert cache.load() == PAYLOAD
    cache.save(b"new")
    assert [path.name for path in folder.iterdir()] == ["table"]
