"""Reads server-sent events from an ASGI application, one by one: httpx would wait for the end of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from tests.support.waiting import PATIENCE, within


@dataclass(frozen=True)
class Told:
    """An event as a browser gives it to a page."""

    kind: str
    data: Any
    id: str = ""


class EventReader:
    """An open stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments = 0
        self.body = b""
        """Bytes that are no complete event yet; the whole answer of a refusal."""
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        """The request, and its end once the client leaves."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        await self._messages.put(message)

    async def start(self) -> None:
        """The head of the answer."""
        head = await within(self._messages.get())
        self.status = head["status"]
        self.headers = {name.decode(): value.decode() for name, value in head["headers"]}

    async def next(self) -> Told | None:
        """The next event; None at the end."""
        return await within(self._next())

    async def _next(self) -> Told | None:
        while (block := await self._block()) is not None:
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines())
            if "data" in fields:
                return Told(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            self.comments += "" in fields
        return None

    async def _block(self) -> bytes | None:
        """The lines up to the next empty one; None at the end."""
        while b"\n\n" not in self.body:
            message = await self._messages.get()
            self.body += message["body"]
            if not message.get("more_body"):
                return None
        block, _, self.body = self.body.partition(b"\n\n")
        return block

    async def until(self, kind: str) -> Told:
        """The next event of this kind; others are passed over."""
        async with asyncio.timeout(PATIENCE):
            while (told := await self._next()) is not None:
                if told.kind == kind:
                    return told
        raise AssertionError(f"the stream ended without {kind}")


@asynccontextmanager
async def opened(
    app: ASGIApp, path: str, headers: Mapping[str, str], method: str = "GET"
) -> AsyncIterator[EventReader]:
    """A stream that is read within the block."""
    reader, url = EventReader(), urlsplit(path)
    scope = {
        "type": "http",
        "method": method,
        "path": url.path,
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 8080),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }
    call: asyncio.Task[None] = asyncio.create_task(app(scope, reader.receive, reader.send))  # type: ignore[arg-type]
    try:
        await reader.start()
        yield reader
    finally:
        reader.left.set()
        await within(call)
