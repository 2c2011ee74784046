"""The process itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Shape


class LinksShape(Shape):
    """Paths on this server."""

    reference: str
    openapi: str
    token: str
    health: str
    ready: str
    metrics: str


class IndexShape(Shape):
    """The entry points of the admin API."""

    name: str
    version: str
    links: LinksShape


class ReadyShape(Shape):
    """Whether requests can be answered."""

    ready: bool
    reasons: list[str]
    revision: int
    problems: Annotated[
        list[str],
        Field(description="Problems of the store, and problems that keep its content from being published."),
    ]


class HealthShape(Shape):
    """The process is alive. Problems that a restart would not solve are listed."""

    status: Literal["ok", "degraded"]
    version: str
    store: str
    revision: int
    problems: list[str]
    warnings: Annotated[
        list[str], Field(description="Certificates that have ended, or end within 30 days.")
    ] = Field(default_factory=list)
