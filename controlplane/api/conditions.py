"""Entity tags and conditions: a resource's ETag is the revision of its last change (RFC 9110 §8.8.3, §13.1).

Lists and documents have tags of their own.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from controlplane.api.problems import HttpError

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


def etag(tag: int | str) -> str:
    """The entity tag of a revision, or of another state."""
    return f'"{tag}"'


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


def is_known(headers: Headers, tag: int | str) -> bool:
    """Whether the client has the content with this tag: the answer is 304 then. HttpError 400."""
    known = given(headers, "if-none-match")
    return known is not None and holds(known, tag, strong=False)


def holds(header: str, tag: int | str | None, *, strong: bool) -> bool:
    """Whether a condition names the content as it is now; `tag` is None when there is none.

    If-Match compares strongly (a weak tag never matches), If-None-Match weakly.
    """
    if header.strip() == "*":
        return tag is not None
    named = {value for weak, value in tags(header) if not (weak and strong)}
    return tag is not None and str(tag) in named
