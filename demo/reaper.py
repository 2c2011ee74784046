"""A process that ends the children of its parent when the parent has ended.

`start` in demo.processes starts a reaper together with the first process. A demo, test run or benchmark that is killed,
or interrupted during its cleanup, would leave its processes running. The reaper reads the process groups from a pipe
("+123" or "-123", one on each line). The pipe closes when the parent ends for any reason, and the reaper kills the
remaining groups.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import IO


class Reaper:
    """The parent's side. Each process has one; a fork that starts processes gets its own."""

    def __init__(self) -> None:
        """Starts nothing before the first `watch`."""
        self._lock = threading.Lock()
        self._pid = 0
        self._pipe: IO[bytes] | None = None

    def watch(self, group: int) -> None:
        """Kill the group when this process ends."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended: its number may be reused."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._pipe is None or self._pid != os.getpid():
                self._begin()
            assert self._pipe is not None
            # Without a reaper, only the parent's own cleanup ends the processes.
            with contextlib.suppress(BrokenPipeError):
                self._pipe.write(line.encode())

    def _begin(self) -> None:
        self._pid = os.getpid()
        # In its own session, so that a Ctrl-C at the terminal reaches only that of the parent.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        # It outlives this process, which is intended.
        process.returncode = 0
        self._pipe = process.stdin


def left(lines: Iterable[bytes]) -> list[int]:
    """Read to the end; returns the remaining groups, the last started first."""
    groups: dict[int, None] = {}
    for line in lines:
        sign, number = line[:1], int(line[1:])
        if sign == b"+":
            groups[number] = None
        else:
            groups.pop(number, None)
    return list(reversed(groups))


def main() -> None:
    """Wait for the end of the parent, and end its remaining processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in left(sys.stdin.buffer):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
