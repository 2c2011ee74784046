"""What a rate limit counts by: the parts of the keys of its buckets."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field
from pydantic_core import PydanticCustomError

from controlplane.model.fields import HEADER

KEY_WORDS = ("address", "subject", "api_key", "route", "header")
_MUST_BE = "must be 'address', 'subject', 'api_key', 'route', 'header', 'header:<name>' or 'claim:<name>'"
MOST_PARTS = 4
FIRST_KEYS = frozenset({"address", "subject", "route", "header"})
"""Keys that every data plane knows."""
_CLAIM = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}")
"""Visible characters without the comma, which stands between the parts of a key."""
_HEADER = re.compile(HEADER)


def read_key(key: object) -> object:
    """A list of one part becomes that part, so that equal keys compare equal. The field's type checks anything but
    text."""
    parts = key if isinstance(key, list | tuple) else [key]
    if not all(isinstance(part, str) for part in parts):
        return key
    if not 1 <= len(parts) <= MOST_PARTS:
        raise PydanticCustomError("key", "must have 1 to 4 parts")
    for part in parts:
        if not is_key_part(str(part)):
            raise PydanticCustomError("key", "{wrong}", {"wrong": _problem(str(part))})
        if parts.count(part) > 1:
            raise PydanticCustomError("key", "{wrong}", {"wrong": f"{part!r} is there twice"})
    return parts[0] if len(parts) == 1 else tuple(parts)


def _problem(part: str) -> str:
    kind, colon, name = part.partition(":")
    kind = kind.lower()
    # Names of claims are told apart by case.
    lower = f"{kind}{colon}{name if kind == 'claim' else name.lower()}"
    meant = f"must be {lower!r}, in lower case" if is_key_part(lower) else _MUST_BE
    return f"{meant}, not {part!r}"


def is_key_part(part: str) -> bool:
    """Whether limits can count by it."""
    kind, _, name = part.partition(":")
    return part in KEY_WORDS or bool(
        (kind == "header" and _HEADER.fullmatch(name)) or (kind == "claim" and _CLAIM.fullmatch(name))
    )


KeyPart = Annotated[str, Field(max_length=72)]
