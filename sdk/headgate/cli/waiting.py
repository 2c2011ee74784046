"""Waiting for data planes, with somebody watching: progress on the screen, one line about those who are late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from headgate.cli.api import AdminApi
from headgate.cli.failure import Failure
from headgate.cli.render import printable

SLICE = 2.0
"""Seconds that the control plane holds one question back: the screen is brought up to date in between."""


def follow(api: AdminApi, revision: int, seconds: float, quorum: str) -> dict[str, Any]:
    """Wait until data planes serve a revision; returns how far each of them is.

    Raises Failure naming those that do not after `seconds`, or at once when too many rejected it.
    """
    until = time.monotonic() + seconds
    with _status() as say:
        while True:
            left = max(0.0, until - time.monotonic())
            query = {"wait": f"{min(left, SLICE):.3f}", "quorum": quorum}
            seen: dict[str, Any] = api.get("rollouts", str(revision), query=query)
            if seen["state"] == "served":
                return seen
            if seen["state"] == "rejected" or not left:
                raise Failure(_late(seen))
            say(f"Revision {revision}: {seen['serving']} of {seen['needed']} data planes serve it")


def served(seen: dict[str, Any]) -> str:
    """The good end in a sentence."""
    if not seen["nodes"]:
        return "No data plane is connected, so that nobody had to be waited for"
    return f"Served by {seen['serving']} data planes ({seen['needed']} needed), digest {seen['digest'][:12]}"


def _late(seen: dict[str, Any]) -> str:
    late = [
        printable(f"{node['node']} ({node['reason']})")
        for node in seen["nodes"]
        if node["connected"] and not node["done"]
    ]
    named = f"not yet: {', '.join(late)}" if late else "no data plane is connected"
    why = seen["problem"] or f"only {seen['serving']} of {seen['needed']} data planes serve it; {named}"
    return f"revision {seen['revision']} is written, but {why}"


class _Silent:
    """Where nobody watches."""

    def __call__(self, text: str) -> None:
        """Say nothing."""


@contextmanager
def _status() -> Iterator[Any]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Silent()
        return
    with console.status("Waiting for data planes") as status:
        yield status.update
