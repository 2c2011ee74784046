"""Instances of services."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape


class InstanceShape(Shape):
    """An instance and the fleet's verdict on it."""

    status: Literal["starting", "healthy", "unhealthy", "draining"]
    last_check: Moment
    reason: Annotated[
        str, Field(description="Reason of the last failed probe; empty for a healthy instance.")
    ]
    host: str
    port: int | None
    weight: int
    metadata: dict[str, str]
    workers: Annotated[
        int,
        Field(description="Processes that share the registration; 0 for an instance that does not register."),
    ]
    source: Annotated[
        Literal["registered", "static", "discovered"],
        Field(description="Whether it registers, is listed in its service, or was found by discovery."),
    ]


class DiscoveryShape(Shape):
    """Whether the source that a service's `discovery` names answers."""

    source: str
    instances: Annotated[
        int, Field(description="Known instances. They stay while the source does not answer.")
    ]
    problem: Annotated[str, Field(description="What is wrong with the source; empty: nothing.")]
    since: Annotated[Moment, Field(description="Since when there is a problem.")]
