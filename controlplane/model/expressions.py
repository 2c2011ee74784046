"""Fields that are regular expressions."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from headgate_api.expressions import compiled


def _check(text: str) -> str:
    try:
        compiled(text)
    except ValueError as error:
        detail = f"is not a regular expression of RE2: {error}"
        raise PydanticCustomError("text", "{detail}", {"detail": detail}) from None
    return text


Expression = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check)]
