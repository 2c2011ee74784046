"""headgate events: changes, their way to the data planes, health and breakers, as they happen."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from headgate.cli.event_stream import Event
from headgate.cli.failure import USAGE, Failure
from headgate.cli.following import follow
from headgate.cli.options import OutputOption
from headgate.cli.render import Output, holds_unicode, print_line, printable, styled

TYPES = (
    *("change", "published", "refused", "served", "rejected"),
    *("dataplane", "instance", "circuit", "store"),
)
_BAD = frozenset({"rejected", "refused", "gap"})
_WIDTH = max(map(len, TYPES))

TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", help=f"Only events of this type; may be repeated: {', '.join(TYPES)}."),
]
LastOption = Annotated[int, typer.Option("--last", min=0, max=1000, help="Begin with this many past events.")]


def events(
    ctx: typer.Context,
    kind: TypeOption = None,
    last: LastOption = 10,
    output: OutputOption = Output.TABLE,
) -> None:
    """Follow changes, health and breakers, until Ctrl-C.

    With each change, its way to the data planes.

    A lost connection is opened again, and events that happened meanwhile are shown. JSON has one object on each line.

    \b
    headgate events
    headgate events --type circuit --type instance
    headgate events --last 100 -o json
    """
    if output is Output.YAML:
        raise Failure("events are lines of text, or with -o json one object a line", USAGE)
    if strange := sorted(set(kind or ()) - set(TYPES)):
        raise Failure(f"--type must be one of {', '.join(TYPES)}, not {strange[0]!r}", USAGE)
    show = _as_json if output is Output.JSON else _as_text
    query: dict[str, str | list[str]] = {"last": str(last)} if last else {}
    if kind:
        query["type"] = kind

    def take(event: Event) -> None:
        show(event[1])
        sys.stdout.flush()

    with ctx.obj.api() as api:
        follow(api, query, take)


def _as_json(data: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=not holds_unicode()) + "\n")


def _as_text(data: Mapping[str, Any]) -> None:
    kind = str(data.get("type", ""))
    style = "red" if kind in _BAD else styled(str(data.get("state", "")))[1]
    text = printable(str(data.get("text", "")))
    print_line((f"{_time(data.get('at'))}  ", "dim"), f"{kind:<{_WIDTH}}  ", (text, style))


def _time(at: object) -> str:
    """The time of the day here, to the second."""
    try:
        return datetime.fromisoformat(str(at)).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return " " * 8
