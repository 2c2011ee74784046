"""Tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Shape


class TokenShape(Shape):
    """RFC 6749 §5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: Annotated[int, Field(description="Seconds.")]
    scope: Annotated[str | None, Field(description="Left out when the user holds no scopes.")] = None
    refresh_token: Annotated[str | None, Field(description="Valid for one use.")] = None


class ServiceTokenShape(Shape):
    """A token for the registrations of one service."""

    token: str
    service_name: str
    expires_in: Annotated[int, Field(description="Seconds.")]


class DataplaneTokenShape(Shape):
    """A token for the data planes of one pool."""

    token: str
    pool: str
    node: Annotated[
        str | None, Field(description="The one data plane that it is for; null: any of the pool.")
    ]
    expires_in: Annotated[int, Field(description="Seconds.")]


class TokenErrorShape(Shape):
    """RFC 6749 §5.2."""

    error: str
    error_description: str
