"""Events, as streams send them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape
from controlplane.api.shapes.fleet import ProblemShape
from controlplane.events.log import Kind


class EventShape(Shape):
    """The data of an event; members that say nothing are left out."""

    type: Annotated[Kind, Field(description="Also the event's name in the stream.")]
    at: Moment
    text: Annotated[str, Field(description="One sentence for people.")]
    revision: Annotated[
        int | None, Field(description="Of the configuration that it concerns, or the published one.")
    ] = None
    author: Annotated[str | None, Field(description="Of `change`.")] = None
    summary: Annotated[str | None, Field(description="Of `change`: the change in words.")] = None
    resources: Annotated[int | None, Field(description="Of `published`: resources of the configuration.")] = (
        None
    )
    dataplanes: Annotated[
        int | None,
        Field(
            description="Of `served`: data planes that serve it. Of `circuit`: those whose breaker is not closed."
        ),
    ] = None
    seconds: Annotated[
        float | None, Field(description="Of `served`: from its publication to the last data plane's answer.")
    ] = None
    node: Annotated[str | None, Field(description="Of `dataplane` and `rejected`.")] = None
    version: Annotated[str | None, Field(description="Of `dataplane`: its version.")] = None
    service_name: Annotated[str | None, Field(description="Of `instance` and `circuit`.")] = None
    instance_id: Annotated[str | None, Field(description="Of `instance`.")] = None
    state: Annotated[
        str | None,
        Field(
            description="Of `dataplane`: connected, disconnected. Of `rejected`: rejected, withheld. Of `instance`: "
            "starting, healthy, unhealthy, draining, removed. Of `circuit`: closed, half_open, open. Of `store`: "
            "answers, lost, full, space, frozen, published."
        ),
    ] = None
    previous: Annotated[str | None, Field(description="The state before, of `instance` and `circuit`.")] = (
        None
    )
    reason: Annotated[str | None, Field(description="Why, of `instance` and `circuit`.")] = None
    problems: Annotated[
        list[ProblemShape] | None, Field(description="Of `rejected` and `refused`; at most 20.")
    ] = None
