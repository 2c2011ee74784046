"""The log is written in order, by a thread, and never waited for."""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Iterator

import pytest

from controlplane import log_writer
from controlplane.log_writer import LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def log(writer: LogWriter, message: str) -> None:
    writer.handle(logging.makeLogRecord({"msg": message, "name": "x", "levelname": "INFO"}))


def fill(descriptor: int) -> None:
    """Write until there is no room for a byte more."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"\n" * select.PIPE_BUF)
    os.set_blocking(descriptor, True)


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    for number in range(100):
        log(writer, f"line {number}")
    writer.flush()
    assert os.read(pipe[0], 65536).decode() == "".join(f"line {number}\n" for number in range(100))
    writer.close()


def test_a_full_pipe_holds_nobody_up_and_what_was_dropped_is_said(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_BACKLOG", 10)
    monkeypatch.setattr(log_writer, "LAST_WORDS", 0.01)
    fill(pipe[1])
    writer = LogWriter(pipe[1])
    writer.setFormatter(logging.Formatter("%(message)s %(dropped)s", defaults={"dropped": ""}))
    for _ in range(20):
        log(writer, "line")
    writer.flush()  # not without end
    got = b""
    while b"nobody read them" not in got:
        got += os.read(pipe[0], 1 << 20).lstrip(b"\n")
    lines = [line.rstrip() for line in got.decode().splitlines()]
    written = lines.count("line")
    (said,) = (line for line in lines if line != "line")
    dropped = int(said.removeprefix("log lines were dropped: nobody read them "))
    # Said after the first line that was written; the others follow.
    while written + dropped < 20:
        written += os.read(pipe[0], 1 << 20).count(b"line ")
    assert written in (10, 11) and written + dropped == 20
    writer.close()


def test_nobody_reads_it_any_more(pipe: tuple[int, int]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    log(writer, "in vain")
    writer.flush()
    writer.close()
    os.close(writing)
