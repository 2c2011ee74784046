"""The plugins request-transformer and response-transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headgate.cli.importing.notes import Notes
from headgate.cli.importing.values import header_name, mapping, texts, visible

_OPERATIONS: Final = {"remove": "remove", "replace": "set", "add": "add", "append": "add"}
_OWN: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *(
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "content-length",
            "x-request-id",
        ),
        *("expect", "forwarded", "host", "max-forwards", "traceparent", "tracestate", "via", "date"),
        *("x-auth-scopes", "x-auth-subject", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    }
)
"""Fields that the gateway writes itself, in requests or in responses."""


def header_edits(config: Mapping[str, Any], place: str, notes: Notes, field: str) -> dict[str, Any]:
    """The edits of header fields; everything else of the plugin is left out."""
    made: dict[str, Any] = {"set": {}, "add": {}, "remove": []}
    for operation, parts in config.items():
        for part, wanted in mapping(parts).items():
            at = f"{place}.{operation}.{part}"
            if not wanted:
                continue
            if part != "headers" or operation not in _OPERATIONS:
                notes.left_out(at, "no edit of header fields that Headgate has")
                continue
            if operation in ("add", "replace"):
                what = (
                    "are added to fields that are there"
                    if operation == "add"
                    else "are set where there are none, too"
                )
                notes.changed(at, f"values {what}")
            for position, edit in enumerate(texts(wanted)):
                _add(made, operation, edit, f"{at}[{position}]", notes)
    kept = {name: value for name, value in made.items() if value}
    return {field: kept} if kept else {}


def _add(made: dict[str, Any], operation: str, edit: str, at: str, notes: Notes) -> None:
    name, _, value = edit.partition(":")
    field, content = header_name(name), visible(value)
    if field is None or re.sub("[^a-z0-9]", "-", field) in _OWN:
        notes.left_out(at, "a field that cannot be edited")
    elif operation == "remove":
        made["remove"] += [field] if field not in made["remove"] else []
    elif content is None or "$(" in content or "%{" in content:
        notes.left_out(at, "a value with a template, or without text")
    elif field in made[_OPERATIONS[operation]]:
        notes.left_out(at, "a second value for the field")
    else:
        made[_OPERATIONS[operation]][field] = content
