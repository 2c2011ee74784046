"""Both planes write their logs in order, by a thread, and never wait for who reads them."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane import logs as of_the_control_plane
from dataplane.observe import logs as of_the_data_plane

MODULES = pytest.mark.parametrize("module", [of_the_control_plane, of_the_data_plane])

LOGS_AND_EXITS = """
import importlib, logging, sys
module = importlib.import_module(sys.argv[1])
module.FLUSH_TIMEOUT = float(sys.argv[2])
logging.getLogger().addHandler(module.LogWriter())
for number in range(int(sys.argv[3])):
    logging.warning("line %s", number)
"""

SET_UP_TWICE = """
import importlib, logging, sys
module = importlib.import_module(sys.argv[1])
module.FLUSH_TIMEOUT = 60
module.set_up()
first = logging.getLogger().handlers[0]
module.set_up()
logging.info("the last line")
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def log(writer: logging.Handler, message: str) -> None:
    writer.handle(logging.makeLogRecord({"msg": message, "name": "x", "levelname": "INFO"}))


def fill(descriptor: int) -> None:
    """Write until there is no room for a byte more; leave it non-blocking."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"\n" * select.PIPE_BUF)


@MODULES
def test_lines_arrive_in_order(module: Any, pipe: tuple[int, int]) -> None:
    writer = module.LogWriter(pipe[1])
    for number in range(100):
        log(writer, f"line {number}")
    writer.flush()
    assert os.read(pipe[0], 65536).decode() == "".join(f"line {number}\n" for number in range(100))
    writer.close()


@MODULES
@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_blocks_no_caller_and_what_was_dropped_is_counted(
    module: Any, blocking: bool, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 10)
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.01)
    fill(pipe[1])
    os.set_blocking(pipe[1], blocking)
    writer = module.LogWriter(pipe[1])
    writer.setFormatter(logging.Formatter("%(message)s %(dropped)s", defaults={"dropped": ""}))
    for _ in range(20):
        log(writer, "line")
    writer.flush()  # not without end
    got = b""
    while b"the reader is too slow" not in got:
        got += os.read(pipe[0], 1 << 20).lstrip(b"\n")
    lines = [line.rstrip() for line in got.decode().splitlines()]
    written = lines.count("line")
    (said,) = (line for line in lines if line != "line")
    dropped = int(said.removeprefix("log lines were dropped: the reader is too slow "))
    # Said after the first line that was written; the others follow.
    while written + dropped < 20:
        written += os.read(pipe[0], 1 << 20).count(b"line ")
    assert written in (10, 11) and written + dropped == 20
    writer.close()


@MODULES
def test_a_pipe_without_a_reader_is_no_error(module: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = module.LogWriter(writing)
    log(writer, "never read")
    writer.flush()
    writer.close()
    os.close(writing)


@MODULES
def test_a_process_writes_its_last_lines_before_it_exits(module: Any) -> None:
    command = [sys.executable, "-c", LOGS_AND_EXITS, module.__name__, "60", "5000"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.splitlines() == [f"line {number}" for number in range(5000)]


@MODULES
def test_a_process_exits_though_its_log_is_not_read(module: Any, pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    os.set_blocking(pipe[1], True)
    command = [sys.executable, "-c", LOGS_AND_EXITS, module.__name__, "0.01", "5000"]
    assert subprocess.run(command, stderr=pipe[1]).returncode == 0


@MODULES
def test_a_process_that_has_set_up_its_log_twice_exits_at_once(module: Any) -> None:
    """A writer that was closed has nothing to wait for; Python flushes it nevertheless."""
    done = subprocess.run(
        [sys.executable, "-c", SET_UP_TWICE, module.__name__], stderr=subprocess.PIPE, text=True, timeout=30
    )
    assert "the last line" in done.stderr
