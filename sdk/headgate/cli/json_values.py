"""JSON read strictly: each key once, and any number of values one after the other, as jq writes them."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_BLANKS = re.compile(r"[ \t\r\n]*")
"""The white space of JSON (RFC 8259, 2)."""


class GivenTwice(ValueError):
    """A repeated key in one object."""


def read_json(text: str) -> list[object]:
    """The values in it, at least one. Raises json.JSONDecodeError, GivenTwice, ValueError and RecursionError."""
    decoder, found = json.JSONDecoder(object_pairs_hook=_unique), list[object]()
    at, end = _after_blanks(text, 0), len(text)
    while at < end or not found:
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at = _after_blanks(text, at)
    return found


def is_json(text: str) -> bool:
    """Whether all of it is JSON: objects of YAML may begin with a brace, too."""
    try:
        return text.lstrip()[:1] == "{" and bool(read_json(text))
    except GivenTwice:
        return True
    except (ValueError, RecursionError):
        return False


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise GivenTwice(f"key {twice!r} is given twice in one object")
    return found
