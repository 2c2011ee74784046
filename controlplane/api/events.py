"""The stream of events: what happened since the last event that a client has seen, and then whatever happens.

The id of an event names the control plane's log, its number there and its time. A client that comes back to the same
process gets exactly the events that it missed. At another one it gets those since that time, and older changes from
the history; `gap` says that others may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from starlette.responses import Response

from controlplane.api import auth
from controlplane.api.numbers import whole
from controlplane.api.older_changes import OlderChange
from controlplane.api.operation import READ, ROOT, Answer, Call, Operation, Parameter, get
from controlplane.api.problems import HttpError
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.events import EventShape
from controlplane.api.streams import ALIVE, COMMENT, EventStream, event
from controlplane.events.log import Event, EventLog, Kind

TRAFFIC = "traffic"
GAP = "gap"
END = "end"
MOST_LAST = 1000
AT_ONCE = 100
"""Events that are read from the log at once."""
RECHECK = 10.0
"""Seconds from one look at the caller's rights to the next."""
_IDENTITY = re.compile(r"([0-9a-f]{8})-(\d{1,15})-(\d{1,15})")
_MISSING = "events before this one may be missing: they happened at another control plane, or too long ago"

PARAMETERS = (
    Parameter(
        "type",
        "Only events of this type; may be repeated. `traffic` sends the answer of `GET /api/v1/traffic` every few "
        "seconds, and only if it is named.",
        schema={"type": "array", "items": {"type": "string", "enum": [*Kind, TRAFFIC]}},
    ),
    Parameter(
        "last",
        "Begin with this many of the last events.",
        schema={"type": "integer", "minimum": 0, "maximum": MOST_LAST, "default": 0},
    ),
    Parameter("Last-Event-ID", "The id of the last event that was seen: begin with the next one.", "header"),
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    kinds: frozenset[str]
    last: int
    seen: re.Match[str] | None


async def events(call: Call) -> Response:
    """The stream."""
    wanted = _wanted(call)
    held = call.parts.streams.take(call.author, call.request)
    return EventStream(_told(call, wanted), call.parts.streams, held)


def _wanted(call: Call) -> _Wanted:
    query = call.request.query_params
    if unknown := sorted(set(query) - {"type", "last"}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")
    kinds = frozenset(query.getlist("type"))
    if strange := sorted(kinds - {*Kind, TRAFFIC}):
        raise HttpError(
            400, f"type must be one of {', '.join((*Kind, TRAFFIC))}, and not {strange[0][:40]!r}"
        )
    last = 0 if (text := query.get("last", "0")) == "0" else whole(text, MOST_LAST)
    if last is None:
        raise HttpError(400, f"last must be a number from 0 to {MOST_LAST}")
    given = call.request.headers.get("last-event-id", "")
    return _Wanted(kinds or frozenset(Kind), last, _IDENTITY.fullmatch(given))


async def _told(call: Call, wanted: _Wanted) -> AsyncGenerator[bytes, None]:
    log, feed = call.parts.events, call.parts.traffic
    wake, watches = asyncio.Event(), TRAFFIC in wanted.kinds
    with ExitStack() as stack:
        stack.enter_context(log.added.wakes(wake))
        stack.enter_context(feed.renewed.wakes(wake) if watches else nullcontext())
        stack.enter_context(feed.watched() if watches else nullcontext())
        seen, renewed = log.last, 0
        async for part in _before(call, wanted, seen):
            yield part
        checked = _now()
        while True:
            wake.clear()
            if seen + 1 < log.first:
                yield _gap()
            for one in log.after(seen, AT_ONCE):
                seen = one.number
                if one.kind in wanted.kinds:
                    yield _event(log, one)
            if watches and feed.latest and feed.number != renewed:
                renewed = feed.number
                yield b"event: traffic\ndata: " + feed.latest + b"\n\n"
            if _now() - checked >= RECHECK:
                checked = _now()
                if (refused := await auth.lost(call.parts, call.request, READ)) is not None:
                    yield event(END, {"type": END, "text": refused.detail})
                    return
            if seen == log.last and not await _woken(wake, ALIVE):
                yield COMMENT


async def _before(call: Call, wanted: _Wanted, up_to: int) -> AsyncGenerator[bytes, None]:
    """The events up to the number at which the stream began that the client has not seen."""
    log = call.parts.events
    start = up_to - wanted.last
    if (seen := wanted.seen) is not None:
        start = int(seen[2]) if seen[1] == log.id else log.number_at(int(seen[3]) / 1000)
        missed = start + 1 < log.first if seen[1] == log.id else int(seen[3]) / 1000 < log.since
        if missed:
            yield _gap()
            for change in await _older(call, wanted, int(seen[3]) / 1000, log.since):
                yield event(Kind.CHANGE, _change(change))
    for one in log.after(start):
        if one.number > up_to:
            return
        if one.kind in wanted.kinds:
            yield _event(log, one)


async def _older(call: Call, wanted: _Wanted, after: float, before: float) -> Sequence[OlderChange]:
    """Changes on record between these times, the oldest first."""
    if Kind.CHANGE not in wanted.kinds:
        return ()
    return await call.parts.older.between(after, before)


async def _woken(wake: asyncio.Event, within: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await wake.wait()
            return True
    return False


def _event(log: EventLog, one: Event) -> bytes:
    return event(one.kind, shown(one), f"{log.id}-{one.number}-{int(one.at * 1000)}")


def shown(one: Event) -> dict[str, object]:
    """The data of an event, as `EventShape` says."""
    head = {"type": str(one.kind), "at": moment(one.at), "text": one.text}
    about = {"revision": one.revision} if one.revision else {}
    return {**head, **about, **{name: value for name, value in one.fields.items() if value is not None}}


def _change(change: OlderChange) -> dict[str, object]:
    return {
        "type": str(Kind.CHANGE),
        "at": moment(change.time),
        "text": f"{change.author}: {change.summary}",
        "revision": change.revision,
        "author": change.author,
        "summary": change.summary,
    }


def _gap() -> bytes:
    return event(GAP, {"type": GAP, "text": _MISSING})


def _now() -> float:
    return asyncio.get_running_loop().time()


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/events",
        events,
        "getEvents",
        "Follow changes, their way to the data planes, health and breakers, as server-sent events",
        Answer(
            200,
            "A stream that goes on until the client leaves. Beside the listed types: `gap`, where events may be "
            "missing; `end`, before the stream ends because the token does; and comments, as a sign of life",
            EventShape,
            "text/event-stream",
        ),
        parameters=PARAMETERS,
        refusals=(400, 429),
    )
