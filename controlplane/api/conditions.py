"""Entity tags and conditions: a resource's ETag is the revision of its last change (RFC 9110 §8.8.3, §13.1)."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from controlplane.api.problems import HttpError

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


def etag(revision: int) -> str:
    """The entity tag of a revision."""
    return f'"{revision}"'


def given(headers: Headers, name: str) -> str | None:
    """The condition in this field; several fields of the name are one list (RFC 9110 §5.3)."""
    return ", ".join(headers.getlist(name)) if name in headers else None


def tags(header: str) -> tuple[tuple[bool, str], ...]:
    """The tags of a condition as (weak, value); HttpError 400 when it is not a list of tags."""
    found: list[tuple[bool, str]] = []
    position = 0
    while position < len(header):
        match = _TAG.match(header, position)
        if not match:
            raise HttpError(400, 'A condition must be "*" or a list of entity tags such as "41"')
        found.append((bool(match[1]), match[2]))
        position = match.end()
    return tuple(found)


def holds(header: str, revision: int | None, *, strong: bool) -> bool:
    """Whether a condition names the resource as it is now; `revision` is None when there is none.

    If-Match compares strongly (a weak tag never matches), If-None-Match weakly.
    """
    if header.strip() == "*":
        return revision is not None
    named = {value for weak, value in tags(header) if not (weak and strong)}
    return revision is not None and str(revision) in named
