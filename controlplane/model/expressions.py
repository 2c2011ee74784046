"""Regular expressions in configuration: RE2 (https://github.com/google/re2/wiki/Syntax), which no input can make slow.

Data planes compile them with the same library. `MOST_MEMORY` bounds what one expression may take there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final

import re2
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MOST_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression; a longer program is refused."""


@lru_cache(maxsize=1024)
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


def _check(text: str) -> str:
    try:
        compiled(text)
    except ValueError as error:
        detail = f"is not a regular expression of RE2: {error}"
        raise PydanticCustomError("text", "{detail}", {"detail": detail}) from None
    return text


Expression = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check)]
