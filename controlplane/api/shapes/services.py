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


class JudgeShape(Shape):
    """A data plane's opinion of an instance."""

    dataplane: str
    status: Literal["starting", "healthy", "unhealthy"]
    since: Annotated[
        Moment, Field(description="When the opinion changed; null: not since this control plane started.")
    ]


class VerdictShape(Shape):
    """A change of an opinion, or of the fleet's verdict."""

    at: Annotated[Moment, Field(description="When this control plane saw it.")]
    dataplane: Annotated[
        str | None, Field(description="The data plane that changed its opinion; null: the fleet's verdict.")
    ]
    status: Literal["starting", "healthy", "unhealthy", "draining", "removed"]
    previous: Annotated[str | None, Field(description="The status before; null: not known.")]
    reason: Annotated[
        str,
        Field(description="Reason of the last failed probe by any data plane then; empty for a healthy one."),
    ]
    healthy: Annotated[int, Field(description="Data planes that found it healthy afterwards.")]
    unhealthy: Annotated[int, Field(description="Data planes that did not.")]


class VerdictsShape(Shape):
    """How data planes judge an instance now, and how they judged it before."""

    service_name: str
    instance_id: str
    status: Annotated[
        Literal["starting", "healthy", "unhealthy", "draining"] | None,
        Field(description="The fleet's verdict: that of the majority; null if the instance is gone."),
    ]
    reason: Annotated[
        str, Field(description="Reason of the last failed probe; empty for a healthy instance.")
    ]
    healthy: Annotated[int, Field(description="Data planes that find it healthy.")]
    unhealthy: Annotated[int, Field(description="Data planes that do not.")]
    starting: Annotated[int, Field(description="Data planes without an opinion yet.")]
    judges: Annotated[
        list[JudgeShape],
        Field(description="Connected data planes, those that find it unhealthy first; at most 200."),
    ]
    verdicts: Annotated[
        list[VerdictShape],
        Field(
            description="The last 64 changes, the newest first. An instance that was always healthy has none."
        ),
    ]
    noted_since: Annotated[Moment, Field(description="Since when this control plane notes them.")]
