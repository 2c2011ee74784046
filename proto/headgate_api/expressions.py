"""Regular expressions in configuration: RE2 (https://github.com/google/re2/wiki/Syntax), which no input can make slow.

Both planes compile them here: the control plane refuses what a data plane could not use. They require google-re2; the
SDK does not, and does not import this module.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

MOST_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression in a data plane; a longer program is refused."""


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


def _reason(error: Any) -> str:
    reason = error.args[0] if error.args else "invalid"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
