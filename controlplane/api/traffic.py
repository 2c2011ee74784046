"""The live traffic of the fleet, once; `api.events` sends it again and again."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api.answers import NO_CACHE
from controlplane.api.operation import ROOT, Answer, Call, Operation, get
from controlplane.api.shapes.traffic import TrafficShape


async def traffic(call: Call) -> Response:
    """The traffic now; the first look waits for the reports of the data planes."""
    feed = call.parts.traffic
    with feed.watched():
        return Response(await feed.first(), headers=NO_CACHE, media_type="application/json")


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/traffic",
        traffic,
        "getTraffic",
        "Rates, errors and latencies of data planes, services and routes, over the last seconds",
        Answer(
            200,
            "The live figures; `GET /api/v1/events?type=traffic` sends them again and again",
            TrafficShape,
        ),
    )
