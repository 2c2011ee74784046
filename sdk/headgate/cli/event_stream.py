"""Reads server-sent events (HTML, "Server-sent events") whose data is JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

Event = tuple[str, Any]
"""Its type, and its data."""


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """The events in these lines. Comments, and events without data that is JSON, are left out."""
    kind, data = "message", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                yield from _event(kind, "\n".join(data))
            kind, data = "message", []


def _event(kind: str, data: str) -> Iterator[Event]:
    try:
        yield kind, json.loads(data)
    except ValueError:
        return
