"""The wait for data planes: progress on the screen, and one line with the late ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from rich.console import Console

from headgate.cli.api import AdminApi
from headgate.cli.failure import INTERRUPTED, NOT_SERVED, Failure
from headgate.cli.render import printable

SLICE = 2.0
"""Seconds that one request waits at the control plane; the screen is updated in between."""


class NotServed(Failure):
    """The change is written, but not served by enough data planes; `seen` is the last known state."""

    def __init__(self, message: str, seen: Mapping[str, Any], exit_code: int = NOT_SERVED) -> None:
        super().__init__(message, exit_code)
        self.seen = dict(seen)

    def problem(self) -> dict[str, Any]:
        """The members of the admin API's own 504, or of its 409 for a rejection."""
        status = HTTPStatus.CONFLICT if self.seen.get("state") == "rejected" else HTTPStatus.GATEWAY_TIMEOUT
        head = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": str(self)}
        return {**head, **self.seen}


def follow(api: AdminApi, revision: int, seconds: float, quorum: str) -> dict[str, Any]:
    """Wait until data planes serve a revision; returns the state of each of them.

    Raises NotServed with the names of those that do not after `seconds`; at once if too many have rejected it; and if
    the wait is interrupted or the control plane is lost.
    """
    seen: dict[str, Any] = {}
    try:
        for seen in _progress(api, revision, seconds, quorum):  # noqa: B007 - the last one is used
            pass
    except KeyboardInterrupt as error:
        raise NotServed(_interrupted(revision, seen), seen, INTERRUPTED) from error
    except Failure as failure:
        if failure.exit_code == INTERRUPTED:
            raise NotServed(_interrupted(revision, seen), seen, INTERRUPTED) from failure
        raise NotServed(f"revision {revision} is written, but the wait failed: {failure}", seen) from failure
    if seen["state"] != "served":
        raise NotServed(_late(seen), seen)
    return seen


def _progress(api: AdminApi, revision: int, seconds: float, quorum: str) -> Iterator[dict[str, Any]]:
    until = time.monotonic() + seconds
    with _status() as say:
        while True:
            left = max(0.0, until - time.monotonic())
            query = {"wait": f"{min(left, SLICE):.3f}", "quorum": quorum}
            seen: dict[str, Any] = api.get("rollouts", str(revision), query=query)
            yield seen
            if seen["state"] != "waiting" or not left:
                return
            say(f"Revision {revision}: {_share(seen)} serve it")


def served(seen: dict[str, Any]) -> str:
    """The message for a successful wait."""
    if not seen["nodes"]:
        return "No data plane is connected, so there was none to wait for"
    by = data_planes(seen["serving"])
    return f"Served by {by} ({seen['needed']} needed), digest {seen['digest'][:12]}"


def data_planes(count: int) -> str:
    """So many data planes."""
    return f"{count} data plane{'' if count == 1 else 's'}"


def _share(seen: dict[str, Any]) -> str:
    return f"{seen['serving']} of {data_planes(seen['needed'])}"


def _interrupted(revision: int, seen: Mapping[str, Any]) -> str:
    known = f"; {_share(dict(seen))} served it" if seen else ""
    return f"interrupted: revision {revision} is written{known} (`headgate status` shows which data planes serve it)"


def _late(seen: dict[str, Any]) -> str:
    if seen["problem"]:
        return f"revision {seen['revision']} is written, but {seen['problem']}"
    connected = [node for node in seen["nodes"] if node["connected"]]
    late = [printable(f"{node['node']} ({node['reason']})") for node in connected if not node["done"]]
    if late:
        which = f"not yet: {', '.join(late)}"
    elif connected:
        which = (
            f"no more than {data_planes(len(connected))} {'is' if len(connected) == 1 else 'are'} connected"
        )
    else:
        which = "no data plane is connected"
    serve = "serves" if seen["needed"] == 1 else "serve"
    return f"revision {seen['revision']} is written, but only {_share(seen)} {serve} it; {which}"


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
