"""Reads server-sent events (HTML, "Server-sent events") whose data is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Event = tuple[str, Any]
"""Its type, and its data."""


def _ignore(identity: str) -> None:
    return


def events_of(lines: Iterable[str], seen: Callable[[str], None] = _ignore) -> Iterator[Event]:
    """The events in these lines. Comments, and events without data that is JSON, are left out.

    `seen` is called with the id of an event before it.
    """
    kind, data, identity = "message", list[str](), ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            identity = value
        elif not line:
            if data:
                if identity:
                    seen(identity)
                yield from _event(kind, "\n".join(data))
            kind, data, identity = "message", [], ""


def _event(kind: str, data: str) -> Iterator[Event]:
    try:
        yield kind, json.loads(data)
    except ValueError:
        return
