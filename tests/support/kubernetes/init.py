"""The first process of the cluster's PID namespace: starts one command, reaps orphans, and ends with the command.

When it ends, the kernel kills every process that is left in the namespace: no container outlives the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType


def run(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    child = subprocess.Popen(argv)

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child.pid, number)

    signal.signal(signal.SIGTERM, forward)
    # A terminal sends it to the command, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


if __name__ == "__main__":
    code = run(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
