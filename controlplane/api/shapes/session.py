"""Sessions of the dashboard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape


class LoginShape(Shape):
    """A name and a password."""

    username: str
    password: Annotated[str, Field(json_schema_extra={"format": "password"})]


class SessionShape(Shape):
    """The rights of a session of the dashboard."""

    username: Annotated[str | None, Field(description="null without a session.")]
    read: Annotated[bool, Field(description="Whether it may look; without a session, ANONYMOUS_READ.")]
    write: Annotated[bool, Field(description="Whether it may change something.")]
    scopes: list[str]
    expires: Moment
    seconds: Annotated[int, Field(description="Seconds until then.")]
    renewable: Annotated[
        bool, Field(description="Whether POST /session/renew may renew it, or bring it back.")
    ]
    version: str
