"""Regular expressions in configuration: RE2 (https://github.com/google/re2/wiki/Syntax), whose matches take time in
proportion to the text.

The factor may be large: in the worst case, each character costs a step for each instruction of the compiled program.
So both are bounded, as `MOST_STEPS` and `LONGEST` say; docs/how-to/routing.md has the figures.

Both planes compile them here: the control plane refuses what a data plane could not use. They require google-re2; the
SDK does not, and does not import this module.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

MOST_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression in a data plane; a longer program is refused."""
MOST_INSTRUCTIONS: Final = 1024
"""Instructions of one compiled expression."""
MOST_STEPS: Final = 1 << 19
"""Characters times instructions of one match: about half a millisecond."""
LONGEST: Final = 3072
"""Characters of a matched text, however small the program is: the library may need a new state for each (300 ns)."""
ALWAYS: Final = MOST_STEPS // MOST_INSTRUCTIONS
"""Characters that every expression may be matched with."""


class TooLong(Exception):
    """A text is too long for an expression. What a match would say is not known: nothing may pass for it."""

    def __init__(self, status: int) -> None:
        """`status`: of the answer to the request."""
        super().__init__("too long for a regular expression of a route")
        self.status = status


@lru_cache(maxsize=4096)
def compiled(text: str) -> Any:
    """A compiled expression, with the methods of `re.Pattern`. Raises ValueError with the reason."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    try:
        made = re2.compile(text, options)
    except re2.error as error:
        raise ValueError(_reason(error)) from None
    if made.programsize > MOST_INSTRUCTIONS:
        raise ValueError(f"its program has {made.programsize} instructions, more than {MOST_INSTRUCTIONS}")
    return made


def longest(expression: Any) -> int:
    """Characters of the longest text that a compiled expression may be matched with."""
    return min(LONGEST, MOST_STEPS // max(1, int(expression.programsize)))


def _reason(error: Any) -> str:
    reason = error.args[0] if error.args else "invalid"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
