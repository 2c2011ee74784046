"""Event streams to browsers and programs: server-sent events (WHATWG HTML, 9.2), bounded and ended in time.

A stream reads its source when the client has taken what was sent before. So nothing queues up for a slow client, and
a client that takes nothing for a while loses its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controlplane.api.problems import HttpError

MOST = 256
"""Streams that are open at once."""
MOST_OF_CALLER = 64
"""Streams of one caller."""
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

    def __init__(self, most: int = MOST, most_of_caller: int = MOST_OF_CALLER) -> None:
        self.stopping = asyncio.Event()
        self._most, self._most_of_caller = most, most_of_caller
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def check(self, caller: str) -> None:
        """HttpError 429 when there is no room for another stream of this caller."""
        if len(self) >= self._most or self._open[caller] >= self._most_of_caller:
            detail = f"{len(self)} event streams are open, {self._open[caller]} of them by {caller}"
            raise HttpError(429, f"Too many event streams: {detail}", headers={"Retry-After": "10"})

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place, within the block."""
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


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
        self, parts: Parts, streams: Streams, caller: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """`parts` gives bytes of the wire form, and at least a COMMENT every `ALIVE` seconds."""
        super().__init__(headers={**HEADERS, **(headers or {})}, media_type=MEDIA_TYPE)
        # A length is that of the whole answer, which is not known.
        del self.headers["content-length"]
        self._parts, self._streams, self._caller = parts, streams, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts; HEAD gets the head only."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._parts):
            await send(start)
            if scope["method"] != "HEAD":
                with self._streams.place(self._caller), contextlib.suppress(TimeoutError, OSError):
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
