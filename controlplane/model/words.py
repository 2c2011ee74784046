"""Turns pydantic's findings into sentences about configuration, in the words of its users."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

PATTERNS: dict[str, str] = {}
"""The meaning of a pattern, in words; `fields` fills it beside each pattern."""

_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}

_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is required",
    "string_unicode": lambda _: "must be text that UTF-8 can hold",
    "int_from_float": lambda _: "must be a whole number",
    "finite_number": lambda _: "must be a finite number",
    "greater_than": lambda c: f"must be above {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:.12g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:.12g}",
    "string_too_short": lambda c: f"must have at least {count(c['min_length'], 'character')}",
    "string_too_long": lambda c: f"must have at most {count(c['max_length'], 'character')}",
    "too_short": lambda c: f"must have at least {count(c['min_length'], 'entry')}",
    "too_long": lambda c: f"must have at most {count(c['max_length'], 'entry')}",
    "literal_error": lambda c: f"must be {c['expected']}",
    "string_pattern_mismatch": lambda c: f"must be {PATTERNS.get(c['pattern'], c['pattern'])}",
}


def describe(error: ErrorDetails, known: Collection[str]) -> str:
    """One finding as a sentence; `known` are the fields of the object in which it was found."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return unknown_field(str(error["loc"][-1]), known)
    if kind == "invalid_key":
        return "must have names that are strings"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_what(error['input'])}"
    sentence = _SENTENCES.get(kind)
    return sentence(error.get("ctx", {})) if sentence else error["msg"]


def unknown_field(name: str, known: Collection[str]) -> str:
    """A message that `name` is unknown here, with the closest known name."""
    # Comparing takes time with the length, and no field has a long name.
    close = get_close_matches(name, known, n=1) if len(name) <= 64 else None
    return f"unknown field; did you mean {close[0]!r}?" if close else "unknown field"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where that is right."""
    plural = "entries" if noun == "entry" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _what(value: object) -> str:
    """Name the type of a value without showing the value: it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "an integer above 64 bits"
    names = {
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "an object",
    }
    return next(
        (name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}"
    )
