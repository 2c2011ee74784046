"""What a process that was killed has started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from demo.reaper import left
from tests.support.waiting import eventually_now

ROOT = Path(__file__).resolve().parents[3]

STARTER = """
import sys, time
from pathlib import Path
from demo.processes import start
first = start("first", ["sleep", "600"], {}, Path(sys.argv[1]))
gone = start("gone", ["sleep", "600"], {}, Path(sys.argv[1]))
gone.stop()
print(first.pid, gone.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_starter_that_was_killed(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as starter:
        assert starter.stdout is not None
        first, gone = (int(pid) for pid in starter.stdout.readline().split())
        assert psutil.pid_exists(first)
        assert not psutil.pid_exists(gone)
        starter.send_signal(number)
    eventually_now(lambda: not psutil.pid_exists(first))


def test_what_is_left_ends_in_reverse() -> None:
    assert left([b"+1\n", b"+22\n", b"+3\n", b"-22\n", b"-7\n"]) == [3, 1]
