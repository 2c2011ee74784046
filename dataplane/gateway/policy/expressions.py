"""Regular expressions (RE2): the time of a match is linear in its input, whatever the expression."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, cast

import re2

MOST_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression, as in the control plane, which refuses larger ones."""
_LITERAL: Final = re.compile(r"[^\\.+*?()|\[\]{}^$]*")
_REPEATED: Final = frozenset("*+?{")


@lru_cache(maxsize=4096)
def compiled(text: str) -> Any:
    """A compiled expression, with the methods of `re.Pattern`. Raises ValueError with the reason."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise ValueError(_reason(error)) from None


def whole(expression: Any, text: str) -> bool:
    """Whether the expression matches all of `text`."""
    return cast(object, expression.fullmatch(text)) is not None


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


def _reason(error: Any) -> str:
    reason = error.args[0] if error.args else "invalid"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
