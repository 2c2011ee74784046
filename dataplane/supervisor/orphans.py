"""Orphans, where this process is PID 1 of a container: the kernel makes it the parent of processes that lost theirs.

A data plane leaves none: workers start no processes. A process started by `docker exec` may, and each would stay a
zombie and keep its process identifier.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

CHILDREN = Path("/proc/self/task")


def adopt(loop: asyncio.AbstractEventLoop) -> None:
    """Reap orphans from now on, if this process is PID 1."""
    if os.getpid() == 1:
        loop.add_signal_handler(signal.SIGCHLD, reap)


def reap() -> None:
    """Reap the children that have ended and belong to another session.

    Workers belong to this process's session, and the event loop waits for them; what a container engine starts in a
    running container begins a session of its own.
    """
    ours = os.getsid(0)
    for child in _children():
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.getsid(child) != ours:
                os.waitpid(child, os.WNOHANG)


def _children() -> Iterator[int]:
    """The children of all threads, ended ones too."""
    for path in CHILDREN.glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())
