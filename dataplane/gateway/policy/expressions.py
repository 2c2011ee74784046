"""Regular expressions (RE2): the time of a match is linear in its input, whatever the expression."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, cast

import re2

MOST_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression, as in the control plane, which refuses larger ones."""


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


def _reason(error: Any) -> str:
    reason = error.args[0] if error.args else "invalid"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
