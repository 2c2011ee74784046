"""The live traffic of the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape

Rate = Annotated[float, Field(description="A second.")]
Share = Annotated[float, Field(description="Of the responses, with a status from 500: 0 to 1.")]
Seconds = Annotated[
    float | None,
    Field(
        description="From a request's head to its response's end, of forwarded requests; null without any."
    ),
]


class TotalShape(Shape):
    """All connected data planes together."""

    requests_per_second: Rate
    client_errors_per_second: Annotated[float, Field(description="Statuses 400 to 499, a second.")]
    server_errors_per_second: Annotated[float, Field(description="Statuses from 500, a second.")]
    error_share: Share
    p50: Seconds
    p99: Seconds


class DataplaneTrafficShape(Shape):
    """One data plane. Rates and figures are null while it has not reported them, and of an older version."""

    node: str
    version: str
    connected: bool
    since: Annotated[Moment, Field(description="When its stream was opened.")]
    last_seen: Moment
    applied_revision: int
    behind: Annotated[
        int,
        Field(description="Revisions from the served to the published configuration; 0: it serves that one."),
    ]
    rejected_revision: Annotated[
        int | None,
        Field(description="The last revision that it rejected, if it is newer than the served one."),
    ]
    requests_per_second: float | None
    error_share: float | None
    p50: Seconds
    p99: Seconds
    in_flight: Annotated[int | None, Field(description="Forwarded requests that have not ended.")]
    connections: Annotated[int | None, Field(description="Open client connections.")]
    memory_bytes: Annotated[int | None, Field(description="Resident memory of all its processes.")]


class ServiceTrafficShape(Shape):
    """A service with requests, or with a breaker that is not closed."""

    service_name: str
    requests_per_second: Annotated[float, Field(description="Requests that were forwarded, a second.")]
    errors_per_second: Annotated[
        float, Field(description="Of those, the ones that an instance did not answer properly.")
    ]
    error_share: Annotated[float, Field(description="Share of the latter: 0 to 1.")]
    p50: Seconds
    p99: Seconds
    circuit: Annotated[
        Literal["closed", "half_open", "open"], Field(description="The worst of all data planes.")
    ]
    open_at: Annotated[
        list[str], Field(description="Data planes whose breaker is not closed; at most 20 names.")
    ]
    healthy: Annotated[int, Field(description="Healthy instances.")]
    total: Annotated[int, Field(description="Instances.")]


class RouteTrafficShape(Shape):
    """A route with requests."""

    name: Annotated[str, Field(description="Empty: requests that matched no route.")]
    service_name: Annotated[str | None, Field(description="The service that the route leads to.")]
    requests_per_second: Rate
    client_errors_per_second: float
    server_errors_per_second: float
    error_share: Share


class TrafficShape(Shape):
    """Live figures of the fleet, over the last seconds. Data planes report them only while a client watches."""

    at: Moment
    every: Annotated[float, Field(description="Seconds between two reports of a data plane.")]
    revision: Annotated[int, Field(description="Of the published configuration.")]
    total: TotalShape
    dataplanes: Annotated[list[DataplaneTrafficShape], Field(description="Sorted by node.")]
    services: Annotated[list[ServiceTrafficShape], Field(description="The busiest first, at most 1,000.")]
    routes: Annotated[list[RouteTrafficShape], Field(description="The busiest first, at most 1,000.")]
