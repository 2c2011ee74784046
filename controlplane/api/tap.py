"""Taps: the next requests that match, as server-sent events (HTML, "Server-sent events"), without secret values.

Every tap is logged with its author when it begins and when it ends. Its requests are not logged.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

from starlette.responses import Response

from controlplane.api import auth
from controlplane.api.allowance import Allowance
from controlplane.api.numbers import whole
from controlplane.api.operation import ROOT, TAP, Answer, Call, Operation, Parameter, get
from controlplane.api.problems import HttpError
from controlplane.api.questions import asker_of, choose
from controlplane.api.streams import COMMENT, MEDIA_TYPE, EventStream, event
from controlplane.fleet.questions import (
    LONGEST_TAP,
    MOST_SHOWN,
    USUAL_SHOWN,
    USUAL_TAP,
    Asker,
    Tap,
    Tapped,
    Unanswered,
)

MOST_NODES = 200
"""Data planes that one tap may watch."""
BEAT = 5.0
"""Seconds without an event after which a comment shows that the stream is alive."""
RECHECK = 10.0
"""Seconds from one look at the caller's rights to the next."""
TAPS = Allowance("Taps", at_once=8, each=2, per_second=1.0, burst=5)

PARAMETERS = (
    Parameter("route", "Only requests of the route of this name."),
    Parameter("service", "Only requests to the service of this name."),
    Parameter("status", "Only responses of this status, or of this class, such as `5xx`."),
    Parameter("dataplane", "Only requests to this data plane; by default, to all that are connected."),
    Parameter(
        "count",
        "The largest number of requests to show.",
        schema={"type": "integer", "minimum": 1, "maximum": MOST_SHOWN, "default": USUAL_SHOWN},
    ),
    Parameter(
        "seconds",
        "The tap ends after so many seconds.",
        schema={"type": "integer", "minimum": 1, "maximum": int(LONGEST_TAP), "default": int(USUAL_TAP)},
    ),
)
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")

logger = logging.getLogger(__name__)

MOST_UNREAD = 200
"""Replies that wait while the client reads slowly; the requests of further ones are counted as skipped."""

Item = tuple[str, Tapped | Unanswered | None]
"""A data plane, and a reply of it; None: its last one."""


async def tap(call: Call) -> Response:
    """Show the next requests."""
    with call.parts.questions.asked("tap", goes_on=True):
        wanted, nodes, asker = _wanted(call), _nodes(call), asker_of(call)
        # Taken here, so that a refusal is a response and not an event.
        with call.parts.streams.take(call.author, call.request) as held:
            if call.request.method != "HEAD":
                held.enter_context(TAPS.take(call.author))
            return EventStream(_events(call, asker, nodes, wanted), call.parts.streams, held.pop_all())


async def _events(call: Call, asker: Asker, nodes: list[str], wanted: Tap) -> AsyncGenerator[bytes, None]:
    """The events, until enough requests were shown, the time is up, or no data plane answers any more."""
    about = {
        "author": call.author,
        "request_id": call.record.request_id,
        "route": wanted.route,
        "service": wanted.service,
        "dataplanes": len(nodes),
    }
    logger.info("requests are tapped", extra=about)
    shown = skipped = 0
    problems: dict[str, str] = {}
    began = checked = time.monotonic()
    try:
        yield event("begin", {"dataplanes": nodes})
        async with _merged(asker, nodes, wanted) as replies:
            async for node, reply in replies:
                if isinstance(reply, Unanswered):
                    problems[node] = str(reply)
                    continue
                for request in reply.requests if reply is not None else ():
                    if shown < wanted.count:
                        shown += 1
                        yield event("request", {"dataplane": node, **request})
                skipped += reply.skipped if reply is not None else 0
                if reply is None:
                    yield COMMENT
                if shown >= wanted.count:
                    break
                if time.monotonic() - checked >= RECHECK:
                    checked = time.monotonic()
                    if (refused := await auth.lost(call.parts, call.request, TAP)) is not None:
                        problems[""] = refused.detail
                        break
        yield event("end", {"shown": shown, "skipped": skipped, "problems": problems})
    finally:
        call.parts.questions.answered("tap", time.monotonic() - began)
        logger.info("requests are no longer tapped", extra={**about, "count": shown})


@asynccontextmanager
async def _merged(
    asker: Asker, nodes: list[str], wanted: Tap
) -> AsyncIterator[AsyncGenerator[tuple[str, Tapped | Unanswered | None], None]]:
    """The replies of all data planes as they come; None after a while without any."""
    found: asyncio.Queue[Item] = asyncio.Queue()
    tasks = [asyncio.create_task(_feed(asker, node, wanted, found), name=f"tap {node}") for node in nodes]
    try:
        async with aclosing(_replies(found, len(tasks), time.monotonic() + wanted.seconds)) as replies:
            yield replies
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _replies(found: asyncio.Queue[Item], running: int, until: float) -> AsyncGenerator[Item, None]:
    while running and (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(BEAT, left)):
                node, reply = await found.get()
        except TimeoutError:
            yield "", None
            continue
        if reply is None:
            running -= 1
        else:
            yield node, reply


async def _feed(asker: Asker, node: str, wanted: Tap, found: asyncio.Queue[Item]) -> None:
    unread = 0
    try:
        async with aclosing(asker.ask(node, wanted)) as replies:
            async for reply in replies:
                if not isinstance(reply, Tapped):
                    continue
                if found.qsize() >= MOST_UNREAD:
                    unread += len(reply.requests) + reply.skipped
                    continue
                found.put_nowait((node, Tapped(reply.requests, reply.skipped + unread)))
                unread = 0
    except Unanswered as error:
        found.put_nowait((node, error))
    if unread:
        found.put_nowait((node, Tapped((), unread)))
    found.put_nowait((node, None))


def _wanted(call: Call) -> Tap:
    """The filter and the bounds in the query. HttpError 400."""
    query = call.request.query_params
    if unknown := sorted(set(query) - {one.name for one in PARAMETERS}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")
    least, most = _statuses(query.get("status"))
    count = whole(query.get("count", str(USUAL_SHOWN)), MOST_SHOWN)
    seconds = whole(query.get("seconds", str(int(USUAL_TAP))), int(LONGEST_TAP))
    if count is None:
        raise HttpError(400, f"count must be 1 to {MOST_SHOWN}")
    if seconds is None:
        raise HttpError(400, f"seconds must be 1 to {LONGEST_TAP:g}")
    return Tap(query.get("route", ""), query.get("service", ""), least, most, count, float(seconds))


def _statuses(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 0
    if not _STATUS.fullmatch(text):
        raise HttpError(400, "status must be a status such as 503, or a class such as 5xx")
    return int(text.replace("x", "0")), int(text.replace("x", "9"))


def _nodes(call: Call) -> list[str]:
    wanted = call.request.query_params.get("dataplane")
    if wanted is not None:
        return [choose(call, wanted)]
    nodes = call.parts.fleet.nodes
    connected = sorted(name for name, state in nodes.items() if state.connected)
    if not connected:
        raise HttpError(503, "No data plane is connected")
    if len(connected) > MOST_NODES:
        raise HttpError(400, f"More than {MOST_NODES} data planes are connected: name one (dataplane)")
    return connected


def operations() -> Iterator[Operation]:
    """The operation that the handler above answers."""
    yield get(
        f"{ROOT}/tap",
        tap,
        "tap",
        "The next requests that match, as server-sent events, without secret values",
        Answer(
            200,
            "Events `request` (the fields of the access log, `dataplane` and `headers`), and at last `end`",
            {"type": "string"},
            media_type=MEDIA_TYPE,
        ),
        access=TAP,
        parameters=PARAMETERS,
        refusals=(400, 404, 429, 503),
    )
