"""Follows the event stream of the admin API, across lost connections and renewed logins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import sleep

import typer

from headgate.cli.api import AdminApi, ApiError, Unreachable
from headgate.cli.event_stream import Event
from headgate.cli.failure import INTERRUPTED, Failure

PAUSE = 2.0
"""Seconds between two attempts."""
END = "end"


def follow(
    api: AdminApi,
    query: Mapping[str, str | Sequence[str]],
    take: Callable[[Event], None],
    pause: Callable[[float], None] = sleep,
) -> None:
    """Give each event to `take`, until Ctrl-C. Raises Failure if the first attempt fails, or for a refusal."""
    seen, opened, told = [""], False, False
    while True:
        try:
            with api.events("events", query=query, last=seen[-1], seen=seen.append) as events:
                opened = True
                for kind, data in events:
                    told, seen[:] = False, seen[-1:]
                    if kind == END:
                        break
                    take((kind, data))
            reason = "the stream ended"
        except KeyboardInterrupt:
            return
        except Failure as failure:
            if failure.exit_code == INTERRUPTED:
                return
            if not opened or not _may_pass(failure):
                raise
            reason = str(failure)
        if not told:
            told = True
            typer.echo(f"headgate: {reason}; still trying", err=True)
        try:
            pause(PAUSE)
        except KeyboardInterrupt:
            return


def _may_pass(failure: Failure) -> bool:
    if isinstance(failure, ApiError):
        return failure.status >= 500 or failure.status == 429
    return isinstance(failure, Unreachable)
