"""A process that ends what its parent started, when the parent is gone.

`start` in demo.processes begins one beside the first process that it starts. A demo, test run or benchmark that is
killed, or interrupted while it cleans up, runs no cleanup of its own: its processes would stay. The reaper reads from
a pipe which process groups are there ("+123" or "-123", a line each). The pipe ends with the parent, however that
ends, and the reaper kills the groups that are left.
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
    """The parent's end of it. One for a process: a fork that starts processes gets one of its own."""

    def __init__(self) -> None:
        """Starts nothing before the first `watch`."""
        self._lock = threading.Lock()
        self._pid = 0
        self._pipe: IO[bytes] | None = None

    def watch(self, group: int) -> None:
        """Have the group killed when this process ends."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended: its number may become another's."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._pipe is None or self._pid != os.getpid():
                self._begin()
            assert self._pipe is not None
            # Without a reaper there is no safety net, and the cleanup of the parent is what there is.
            with contextlib.suppress(BrokenPipeError):
                self._pipe.write(line.encode())

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A session of its own: a Ctrl-C at the terminal goes to the parent's.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        # It outlives this process, which nobody has to be told.
        process.returncode = 0
        self._pipe = process.stdin


def left(lines: Iterable[bytes]) -> list[int]:
    """Read to the end; the groups that are left, the last started first."""
    groups: dict[int, None] = {}
    for line in lines:
        sign, number = line[:1], int(line[1:])
        if sign == b"+":
            groups[number] = None
        else:
            groups.pop(number, None)
    return list(reversed(groups))


def main() -> None:
    """Wait for the end of the parent, and end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in left(sys.stdin.buffer):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
