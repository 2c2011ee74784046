"""A process that takes in orphans, as PID 1 does, and reaps those of other sessions."""

from __future__ import annotations

import subprocess
import sys

# A subreaper stands in for PID 1: the kernel gives it orphans, too.
SCRIPT = """
import ctypes, os, subprocess, sys, time
from dataplane.supervisor.orphans import reap
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
ours = subprocess.Popen([sys.executable, "-c", ""])
orphan = "import os; print(os.getpid(), flush=True); os.read(0, 1)"
parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}])"
hold, release = os.pipe()
made = subprocess.Popen(
    [sys.executable, "-c", parent], start_new_session=True, stdin=hold, stdout=subprocess.PIPE, text=True
)
pid = int(made.stdout.readline())
os.close(hold)
made.wait()
assert os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
reap()
os.kill(pid, 0)  # it runs still
os.close(release)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
reap()
try:
    os.kill(pid, 0)
except ProcessLookupError:
    print("reaped; our own child:", ours.wait())
"""


def test_an_orphan_is_reaped_and_a_child_of_ours_is_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "reaped; our own child: 0\n", done.stderr
