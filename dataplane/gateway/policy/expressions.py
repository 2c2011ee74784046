"""Matches of regular expressions (`headgate_api.expressions`), and what can be said without one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, cast

from headgate_api.expressions import ALWAYS, TooLong, longest

_LITERAL: Final = re.compile(r"[^\\.+*?()|\[\]{}^$]*")
_REPEATED: Final = frozenset("*+?{")


def whole(expression: Any, text: str, status: int) -> bool:
    """Whether the expression matches all of `text`. Raises TooLong, with this status, if that would take too long."""
    if len(text) > ALWAYS and len(text) > longest(expression):
        raise TooLong(status)
    return cast(object, expression.fullmatch(text)) is not None


def certainly(expression: Any, text: str) -> bool:
    """Whether the expression matches all of `text`; False if that would take too long to say."""
    try:
        return whole(expression, text, 0)
    except TooLong:
        return False


@lru_cache(maxsize=4096)
def literal(text: str) -> str:
    """What everything that the expression matches begins with, as far as a look at its beginning tells. A comparison
    with it costs a hundredth of a match."""
    if "|" in text and ("[" in text or "\\" in text or _alternatives(text)):
        return ""
    begun = text.removeprefix("^")
    found = _LITERAL.match(begun)
    assert found is not None
    plain = found[0]
    # A repetition is of the last character alone, and may be none.
    return plain[:-1] if begun[len(plain) : len(plain) + 1] in _REPEATED else plain


def _alternatives(text: str) -> bool:
    """Whether there is a "|" outside of groups; there are neither classes nor escapes."""
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            return True
    return False
