"""The fleet at a glance: what is wrong, since when, and the progress of the last change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape
from controlplane.api.shapes.fleet import DataplaneShape


class TroubleShape(Shape):
    """Something that is wrong in the fleet."""

    severity: Literal["critical", "warning", "info"]
    kind: Literal[
        "store",
        "configuration",
        "fleet",
        "rejected",
        "waiting",
        "left",
        "circuit",
        "health",
        "discovery",
        "controlplane",
        "version",
    ]
    title: str
    detail: Annotated[str, Field(description="The cause or the consequence; may be empty.")]
    since: Moment
    resource: Annotated[str, Field(description="Kind and name such as service/orders; empty for none.")]
    revision: Annotated[int | None, Field(description="The revision that it is about.")]
    nodes: Annotated[list[str], Field(description="Data planes that it is about, the first 20.")]
    count: Annotated[int, Field(description="Number of data planes that it is about.")]


class CountsShape(Shape):
    """Data planes by their state."""

    connected: int
    serving: Annotated[int, Field(description="Connected, and serving the published configuration.")]
    waiting: Annotated[int, Field(description="Connected, and not serving it yet.")]
    rejecting: Annotated[int, Field(description="Connected, and refusing it.")]
    gone: Annotated[int, Field(description="Left within the last minutes.")]
    services: int
    routes: int


class BoardHeadShape(Shape):
    """The state of the fleet as a whole."""

    time: Annotated[Moment, Field(description="The control plane's clock.")]
    version: str
    revision: Annotated[int, Field(description="Revision of the published configuration; 0 for none.")]
    digest: str
    published_at: Annotated[Moment, Field(description="When this control plane published it.")]
    counts: CountsShape
    troubles: Annotated[list[TroubleShape], Field(description="The worst first, then the oldest.")]
    more: Annotated[int, Field(description="Troubles that are not listed.")]


class BoardShape(BoardHeadShape):
    """The fleet at a glance."""

    dataplanes: Annotated[list[DataplaneShape], Field(description="Sorted by node.")]
