"""The fleet at a glance: once, or as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api import auth
from controlplane.api.answers import long_answer
from controlplane.api.operation import READ, ROOT, Answer, Call, Operation, Parameter, flag, get
from controlplane.api.problems import HttpError
from controlplane.api.shapes.board import BoardShape
from controlplane.api.streams import EventStream
from controlplane.store import StoreError


async def fleet(call: Call) -> Response:
    """What is wrong, and every data plane."""
    call.parts.snapshot()  # or 503: still starting
    return await long_answer(call.parts.broadcast.state())


async def stream(call: Call) -> Response:
    """The same as events: `state` with everything, then `patch` with what changed."""
    call.parts.snapshot()
    traffic = flag(call, "traffic")
    held = call.parts.streams.take(call.author, call.request)

    async def allowed() -> bool:
        try:
            await auth.author(call.parts, call.request, READ)
        except HttpError:
            return False
        except StoreError:
            return True  # the watcher's view could not tell, and the store does not answer
        return True

    told = call.parts.broadcast.follow(allowed, traffic=traffic)
    return EventStream(told, call.parts.streams, held)


TRAFFIC = Parameter(
    "traffic",
    "Also send the answer of `GET /api/v1/traffic` every few seconds, as events `traffic`.",
    schema={"type": "boolean", "default": False},
)


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/fleet",
        fleet,
        "getFleet",
        "What is wrong in the fleet, since when, and the progress of the last change at every data plane",
        Answer(200, "The fleet at a glance", BoardShape),
    )
    yield get(
        f"{ROOT}/fleet/stream",
        stream,
        "streamFleet",
        "The same as server-sent events: `state`, then `patch` (changed data planes, names of those gone)",
        Answer(200, "Events, until the token expires", {"type": "string"}, "text/event-stream"),
        parameters=(TRAFFIC,),
        refusals=(400, 429),
    )
