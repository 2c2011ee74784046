"""The access log's way to its descriptor: whole lines, in order, or dropped and counted."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.observe import access
from dataplane.observe.access import AccessLog


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, 65536)
    return data


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    lines = [f'{{"number":{number}}}\n' for number in range(1000)]
    for line in lines:
        log.write(line)
    log.close()
    assert read_all(pipe[0], len("".join(lines))).decode() == "".join(lines)
    assert log.dropped == 0


def test_a_flush_does_not_wait_for_a_full_batch(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    log.write("one\n")
    log.flush()
    assert os.read(pipe[0], 100) == b"one\n"
    log.close()


def test_on_a_shared_pipe_no_write_is_longer_than_the_kernel_keeps_whole(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1], shared=True)
    written: list[bytes] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written.append(data)
        return real(descriptor, data)

    lines = [f"{number:0100d}\n" for number in range(300)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        for line in lines:
            log.write(line)
        log.close()
    assert b"".join(written).decode() == "".join(lines)
    assert max(map(len, written)) <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in written)


def test_what_does_not_get_through_is_dropped_and_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_BACKLOG", 1000)
    log = AccessLog(pipe[1])
    line = "x" * 999 + "\n"
    for _ in range(5000):  # the pipe takes 64 of them
        log.write(line)
    log.flush()
    assert log.dropped >= 3800
    reader = threading.Thread(target=read_all, args=(pipe[0], (5000 - log.dropped) * 1000))
    reader.start()
    log.close()
    reader.join(5)
    assert not reader.is_alive()


def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    log = AccessLog(writing)
    os.close(reading)
    for _ in range(10):
        log.write("lost\n")
    log.close()
    assert log.dropped == 10
    os.close(writing)


def test_closing_does_not_wait_for_a_reader_that_sleeps(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    for _ in range(300):
        log.write("x" * 999 + "\n")
    log.close(within=0.05)
    read_all(pipe[0], 300_000)


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    log = AccessLog(pipe[1])
    for _ in range(300):
        log.write("x" * 999 + "\n")
    log.flush()
    assert len(read_all(pipe[0], 300_000)) == 300_000
    log.close()
    assert log.dropped == 0


def test_a_file_is_appended_to_and_only_its_owner_and_group_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    for line in ("one\n", "two\n"):
        log = AccessLog(file=str(file))
        log.write(line)
        log.close()
    assert file.read_text() == "one\ntwo\n"
    assert file.stat().st_mode & 0o777 & ~0o640 == 0


def test_a_file_that_was_renamed_is_opened_again(tmp_path: Path) -> None:
    file, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    log = AccessLog(file=str(file))
    log.write("before\n")
    file.rename(rotated)
    log.write("still before\n")
    log.reopen()
    log.write("after\n")
    log.close()
    assert (rotated.read_text(), file.read_text()) == ("before\nstill before\n", "after\n")


def test_a_file_that_cannot_be_opened_again_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    log = AccessLog(file=str(folder / "access.log"))
    folder.rename(moved)
    log.reopen()
    log.write("after\n")
    log.close()
    assert (moved / "access.log").read_text() == "after\n"
    assert [record.getMessage() for record in caplog.records] == ["access log cannot be opened"]


def test_a_full_disk_cuts_one_line_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, real, full = tmp_path / "access.log", os.write, OSError(errno.ENOSPC, "No space left on device")
    outcomes: list[OSError | int] = [3, full, full]

    def write(descriptor: int, data: bytes) -> int:
        outcome = outcomes.pop(0) if outcomes else len(data)
        if isinstance(outcome, OSError):
            raise outcome
        return real(descriptor, data[:outcome])

    log = AccessLog(file=str(file))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        for line in ("first\n", "second\n", "third\n", "fourth\n"):
            log.write(line)
            log.flush()
        log.close()
    assert file.read_text() == "fir\nthird\nfourth\n"
    assert log.dropped == 2
    assert [record.getMessage() for record in caplog.records] == ["access log cannot be written"]


def test_a_named_pipe_without_a_reader_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        AccessLog(file=str(tmp_path / "pipe"))


def test_stdout_is_not_opened_again(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    log.reopen()
    log.write("one\n")
    log.close()
    assert os.read(pipe[0], 100) == b"one\n"
