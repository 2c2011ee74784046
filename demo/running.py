"""Checks whether a demo already runs in this folder, by a lock that the system releases when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from demo.processes import StartError


class AlreadyRunning(Exception):
    """Another demo holds the folder; `facts` is its demo.json, empty while it starts."""

    def __init__(self, pid: str, facts: dict[str, str]) -> None:
        """`pid`: the process that holds the folder."""
        super().__init__(f"the demo is already running (process {pid})")
        self.facts = facts


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for the block. Raises AlreadyRunning, and StartError when the folder cannot be used."""
    with usable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "demo.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(file.read().strip(), _facts(folder)) from None
        # The files of a killed demo do not describe running processes.
        (folder / "demo.json").unlink(missing_ok=True)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            # Its passwords are of no use any more, and another program may get its ports.
            (folder / "demo.json").unlink(missing_ok=True)


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Raises StartError for errors of the system in the block, which makes the demo's files."""
    try:
        yield
    except OSError as error:
        hint = (
            "a demo of another user has left it: remove it"
            if folder.exists()
            else "the demo needs to write there"
        )
        raise StartError(f"cannot use {folder}: {error.strerror} ({hint})") from error


def _facts(folder: Path) -> dict[str, str]:
    try:
        facts = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
