"""Event streams to browsers and programs: server-sent events (WHATWG HTML, 9.2), bounded and ended in time.

A stream reads its source when the client has taken what was sent before. So nothing queues up for a slow client, and
a client that takes nothing for a while loses its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from controlplane.api.caller import Network, address_of
from controlplane.api.places import Bounds, Full, Places
from controlplane.api.problems import HttpError

BOUNDS = Bounds(most=256, of_caller=32, of_address=64, few=4)
"""Streams that are open at once. A page of the dashboard has two at most."""
ALIVE = 10.0
"""Seconds of silence after which a comment is sent: proxies close connections that are silent for longer."""
RETRY = 2000
"""Milliseconds after which a browser connects again."""
TAKE_WITHIN = 30.0
"""Seconds within which a client must take what was sent."""

HEADERS = {
    "Cache-Control": "no-store",
    # Proxies that buffer answers (nginx) would hold events back.
    "X-Accel-Buffering": "no",
}
MEDIA_TYPE = "text/event-stream"


class Streams:
    """The open streams, counted; and whether the process is stopping, which ends them all."""

    def __init__(self, bounds: Bounds = BOUNDS, trusted: tuple[Network, ...] = ()) -> None:
        """`trusted`: proxies that say from which address a request comes."""
        self.stopping = asyncio.Event()
        self.places = Places("event streams", bounds)
        self.trusted = trusted

    def __len__(self) -> int:
        return len(self.places)

    def take(self, caller: str, request: Request) -> ExitStack:
        """A place for another stream of this caller, until the stack is closed. HttpError 429 when there is none."""
        held = ExitStack()
        try:
            held.enter_context(self.places.take(caller, address_of(request, self.trusted)))
        except Full as full:
            raise HttpError(429, str(full), headers={"Retry-After": "10"}) from None
        return held


def event(kind: str, data: object, identity: str = "") -> bytes:
    """An event in its form on the wire. JSON has no line breaks."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()


COMMENT = b": alive\n\n"
FIRST = f"retry: {RETRY}\n\n".encode()

Parts = AsyncGenerator[bytes, None]


class EventStream(Response):
    """An answer that goes on until its source ends, the client leaves, or the process stops."""

    media_type = MEDIA_TYPE

    def __init__(
        self, parts: Parts, streams: Streams, held: ExitStack, headers: Mapping[str, str] | None = None
    ) -> None:
        """`parts` gives bytes of the wire form, and at least a COMMENT every `ALIVE` seconds. `held`, with its place,
        is closed at the end, even if the stream never begins."""
        super().__init__(headers={**HEADERS, **(headers or {})}, media_type=MEDIA_TYPE)
        # A length is that of the whole answer, which is not known.
        del self.headers["content-length"]
        self._parts, self._streams, self._held = parts, streams, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts; HEAD gets the head only."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with self._held:
            await self._answer(scope, receive, send, start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, start: Message) -> None:
        async with aclosing(self._parts):
            await send(start)
            if scope["method"] != "HEAD":
                with contextlib.suppress(TimeoutError, OSError):
                    await self._run(receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run(self, receive: Receive, send: Send) -> None:
        """Until one of three ends it; then the others are cancelled."""
        ends = [
            asyncio.create_task(self._send(send), name="event stream: send"),
            asyncio.create_task(_left(receive), name="event stream: client"),
            asyncio.create_task(self._streams.stopping.wait(), name="event stream: stop"),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)
        for task in ends:
            if not task.cancelled():
                # Raises the error of the source.
                task.result()

    async def _send(self, send: Send) -> None:
        await _take(send, FIRST)
        async for part in self._parts:
            await _take(send, part)


async def _take(send: Send, part: bytes) -> None:
    async with asyncio.timeout(TAKE_WITHIN):
        await send({"type": "http.response.body", "body": part, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
