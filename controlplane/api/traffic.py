"""The live traffic of the fleet, once (`api.events` sends it again and again), and its history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from starlette.responses import Response

from controlplane.api.answers import NO_CACHE, json_answer
from controlplane.api.operation import ROOT, Answer, Call, Operation, Parameter, get
from controlplane.api.problems import HttpError
from controlplane.api.shapes.traffic import ServiceTrafficShape, TrafficHistoryShape, TrafficShape
from controlplane.model.resources import Service

AT = Parameter(
    "at",
    "The recorded traffic that is nearest to this time (RFC 3339), without data planes.",
    schema={"type": "string", "format": "date-time"},
)
OF = (
    Parameter("route", "Only of this route."),
    Parameter("service", "Only of this service."),
)


async def traffic(call: Call) -> Response:
    """The traffic now, or as it was recorded; the first look waits for the reports of the data planes."""
    _only(call, "at")
    if (at := call.request.query_params.get("at")) is not None:
        return _json(_recorded(call, at))
    feed = call.parts.traffic
    with feed.watched():
        return _json(await feed.first())


def _recorded(call: Call, at: str) -> bytes:
    try:
        moment = datetime.fromisoformat(at)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise HttpError(400, "at must be a time such as 2026-11-30T03:00:00Z") from None
    if (found := call.parts.traffic.history.near(seconds)) is None:
        raise HttpError(404, "The traffic at this time is not on record")
    return found.unpacked()


async def service(call: Call) -> Response:
    """One service with all its instances."""
    _only(call)
    name, feed = call.path("service"), call.parts.traffic
    _known(call, Service.KIND, name)
    with feed.watched():
        found = await feed.service(name)
    if found is None:
        raise HttpError(404, f"service {name[:80]!r} does not exist")
    return _json(found.model_dump_json().encode())


async def history(call: Call) -> Response:
    """Figures of the last hour or so: of the fleet, of a route or of a service."""
    _only(call, "route", "service")
    found = call.parts.traffic.history
    points, reasons = found.points(), found.reasons()
    asked = call.request.query_params.multi_items()
    if len(asked) > 1:
        raise HttpError(400, "Send route or service, and not both")
    if asked:
        kind, name = asked[0]
        _known(call, kind, name)
        points, reasons = await call.parts.commands.reads.run(lambda: found.points_of(f"{kind}s", name))
    shape = TrafficHistoryShape(step=found.step, seconds=found.seconds, points=points, refusals=reasons)
    return json_answer(shape.model_dump(mode="json"), headers=NO_CACHE)


def _known(call: Call, kind: str, name: str) -> None:
    if (kind, name) not in call.parts.snapshot().resources:
        raise HttpError(404, f"{kind} {name[:80]!r} does not exist")


def _only(call: Call, *known: str) -> None:
    if unknown := sorted(set(call.request.query_params) - set(known)):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")


def _json(text: bytes) -> Response:
    return Response(text, headers=NO_CACHE, media_type="application/json")


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
        parameters=(AT,),
        refusals=(400, 404),
    )
    yield get(
        f"{ROOT}/traffic/history",
        history,
        "getTrafficHistory",
        "Rates, errors and latencies of the last hour, as this control plane recorded them",
        Answer(200, "A point every ten seconds", TrafficHistoryShape),
        parameters=OF,
        refusals=(400, 404),
    )
    yield get(
        f"{ROOT}/traffic/services/{{service}}",
        service,
        "getServiceTraffic",
        "Rates, errors and latencies of one service and of all its instances, over the last seconds",
        Answer(200, "The live figures", ServiceTrafficShape),
        refusals=(400, 404),
    )
