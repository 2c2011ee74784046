"""What all shapes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Moment = Annotated[str | None, Field(description="RFC 3339, UTC; null when it has not happened.")]


def moment(seconds: float) -> str | None:
    """Unix seconds as RFC 3339; 0 stands for never."""
    if not seconds:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(frozen=True)


class VersionShape(Shape):
    """Facts about a resource beside its fields."""

    revision: Annotated[int, Field(description="Revision of the resource's last change; also its ETag.")]


class StatusShape(VersionShape):
    """Facts about a resource that is sent to data planes."""

    serving: Annotated[
        int, Field(description="Connected data planes that serve this revision of the resource.")
    ]
    connected: Annotated[int, Field(description="Connected data planes.")]


class RevisionShape(Shape):
    """The revision of a change."""

    revision: int
