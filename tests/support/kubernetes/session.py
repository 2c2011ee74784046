"""A shell in which the commands of a page are typed one after the other, as a reader does."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.waiting import eventually_now

BACKGROUND = re.compile(r" (?P<port>\d+)(:\d+)? &\n$")
"""The end of a port-forward: its port on this machine."""


class Session:
    """One bash: variables and background processes of a command stay for the next ones."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        self._stdin = process.stdin
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)

    def run(self, command: str, timeout: float = 400) -> str:
        """Type it, and return its output. AssertionError if it fails; queue.Empty if a line takes too long."""
        mark = secrets.token_hex(8)
        self._stdin.write(f'{command}\necho "{mark} $?"\n')
        self._stdin.flush()
        output = ""
        while mark not in (line := self._lines.get(timeout=timeout)):
            output += line
        # The last line of the output may lack its end.
        rest, _, code = line.partition(mark)
        output, code = output + rest, code.strip()
        assert code == "0", f"{command}\nexit code {code}\n{output}"
        if found := BACKGROUND.search(command):
            eventually_now(lambda: listens(int(found["port"])))
        return output

    def end(self) -> None:
        """Wait for the last output, after its processes have ended."""
        self._reader.join()


def listens(port: int) -> bool:
    """Whether a process of this machine accepts connections at the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def session(folder: Path, environment: Mapping[str, str]) -> Iterator[Session]:
    """A shell in this folder; what it has started ends with the block."""
    with subprocess.Popen(
        ["bash"],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        found = Session(process)
        try:
            yield found
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            found.end()
