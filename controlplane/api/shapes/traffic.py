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
    refusals: Annotated[
        dict[str, float],
        Field(description="Requests that were refused or failed, a second, by decision."),
    ]


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


class InstanceTrafficShape(Shape):
    """An instance on the map of traffic."""

    instance_id: str
    status: Annotated[
        Literal["starting", "healthy", "unhealthy", "draining"], Field(description="The fleet's verdict.")
    ]
    requests_per_second: Annotated[
        float, Field(description="Requests whose last attempt it got, a second; 0 of older data planes.")
    ]
    error_share: Share
    ejected_at: Annotated[
        int, Field(description="Data planes that send it no requests for a while because it kept failing.")
    ]


class LimitTrafficShape(Shape):
    """A limit that refused requests."""

    name: str
    refused_per_second: Rate
    shadowed_per_second: Annotated[
        float, Field(description="Those that it would have refused, were it enforced, a second.")
    ]


class ServiceTrafficShape(Shape):
    """A service with requests, with a breaker that is not closed, or with an ejected instance."""

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
    failures: Annotated[
        dict[str, float],
        Field(description="Requests that an instance did not answer properly, a second, by decision."),
    ]
    ejected: Annotated[int, Field(description="Instances that a data plane has ejected.")]
    instances: Annotated[
        list[InstanceTrafficShape],
        Field(
            description="Those in trouble first, then the busiest; at most 12, and only of 60 services. "
            "`GET /api/v1/traffic/services/{service}` has all."
        ),
    ]


class RouteTrafficShape(Shape):
    """A route with requests."""

    name: Annotated[str, Field(description="Empty: requests that matched no route.")]
    service_name: Annotated[str | None, Field(description="The service that the route leads to.")]
    services: Annotated[
        list[str], Field(description="All services that it leads to, of a route with several.")
    ]
    rate_limits: Annotated[list[str], Field(description="Limits of the route.")]
    refusals: Annotated[
        dict[str, float],
        Field(description="Refused requests a second, by the decision as in the access log."),
    ]
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
    limits: Annotated[
        list[LimitTrafficShape],
        Field(description="Limits that refused requests, the most first, at most 100."),
    ]


class PointShape(Shape):
    """Figures at one moment, over the seconds before it."""

    at: Moment
    requests_per_second: Rate
    client_errors_per_second: Annotated[
        float, Field(description="Statuses 400 to 499, a second; 0 of a service.")
    ]
    server_errors_per_second: Annotated[
        float,
        Field(description="Statuses from 500, a second; of a service those not answered properly."),
    ]
    p50: Seconds
    p99: Seconds


class TrafficHistoryShape(Shape):
    """The traffic of the last hour or so, as this control plane recorded it."""

    step: Annotated[float, Field(description="Seconds between two points. There is none while it was down.")]
    seconds: Annotated[float, Field(description="Seconds that are kept: `TRAFFIC_HISTORY`; 0: none.")]
    points: Annotated[list[PointShape], Field(description="The oldest first.")]
    refusals: Annotated[
        dict[str, float],
        Field(description="About how many requests were refused or failed meanwhile, by decision."),
    ]
