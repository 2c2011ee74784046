"""Whether a demo runs in this folder already. A lock says so, which the system frees when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunning(Exception):
    """Another demo holds the folder; `facts` is its demo.json, empty while it starts."""

    def __init__(self, pid: str, facts: dict[str, str]) -> None:
        """`pid`: of the process that holds it."""
        super().__init__(f"the demo is already running (process {pid})")
        self.facts = facts


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for the block. Raises AlreadyRunning."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "demo.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(file.read().strip(), _facts(folder)) from None
        # What a demo that was killed has left tells of nothing that runs.
        (folder / "demo.json").unlink(missing_ok=True)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _facts(folder: Path) -> dict[str, str]:
    try:
        facts = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
