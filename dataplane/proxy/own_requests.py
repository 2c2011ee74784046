"""Requests of the gateway's own, about a client's request: what is sent, and how the response is read.

They go to instances like requests of clients do, over the same connections, but have no client: an `Inquirer` takes the
client's side, collects a bounded response, and calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from dataplane.proxy.errors import TimedOut
from dataplane.proxy.exchange import ClientSide, Exchange, Result, Sender, take_idle
from dataplane.proxy.fields.kinds import folded
from dataplane.proxy.messages import Request
from dataplane.proxy.phases import DONE, FOREVER, IDLE
from dataplane.proxy.writer import Outgoing

MOST: Final = 131_072
"""Bytes of a response, with its head."""
_OURS: Final = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding", b"x-request-id"})
"""Fields of the head that say nothing about the response."""

Fields = list[tuple[bytes, bytes]]


class Collected(Outgoing):
    """Keeps what would be written to a client."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= MOST:
            self.pieces.append(data)

    def writelines(self, pieces: list[bytes], size: int) -> None:
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        """There is nothing to flush."""

    def drop(self) -> None:
        self.pieces.clear()

    def close(self) -> None:
        """There is no connection."""

    def abort(self) -> None:
        """There is no connection."""


class Inquirer(ClientSide):
    """The client's side of one request of the gateway's own."""

    __slots__ = ("_collected", "_done", "_ended", "_sent", "_timer")

    def __init__(
        self,
        client: ClientSide,
        address: str,
        done: Callable[[Exchange, object | None, float], None],
        sent: Callable[[Exchange, float], None],
    ) -> None:
        """`client` sent the request that this one is about. `done` is called once, with a refusal, or None when there
        is a response; `sent` is `Decider.sent`."""
        self.peer = client.peer
        self.address = address
        self.entrance = client.entrance
        self.server_name = ""
        self.forwarded = client.forwarded
        self.outgoing = self._collected = Collected()
        self.current = None
        self.phase = IDLE
        self.since = self.deadline = 0.0
        self.until = FOREVER
        self.write_paused = False
        self._done = done
        self._sent = sent
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def send(self, exchange: Exchange, sender: Sender, seconds: float, now: float) -> None:
        """Send the request to its endpoint, and wait so long for the whole response."""
        endpoint = exchange.endpoint
        assert endpoint is not None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire, exchange)
        if endpoint.idle:
            take_idle(endpoint).send(exchange, now)
        else:
            sender.dial(exchange)

    @property
    def response(self) -> tuple[Fields, bytes] | None:
        """Fields, names in lower case, and content; None if there is too much of it."""
        if self._collected.size > MOST:
            return None
        head, _, content = b"".join(self._collected.pieces).partition(b"\r\n\r\n")
        fields: Fields = []
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            if name.lower() not in _OURS:
                fields.append((name.lower(), value))
        return fields, content

    def connecting(self, exchange: Exchange, now: float, seconds: float) -> None:
        """The one bound is that of `send`."""

    def sending(self, exchange: Exchange, now: float) -> None:
        if exchange.timed:
            self._sent(exchange, now)

    def settle_reading(self) -> None:
        """There is no body to read."""

    def touch(self, exchange: Exchange, now: float) -> None:
        if self._collected.size > MOST and exchange.upstream is not None:
            exchange.upstream.cancel()
            self._end(exchange, None, now)

    def completed(self, exchange: Exchange, now: float) -> None:
        self._end(exchange, None, now)

    def failed(self, exchange: Exchange, refusal: object, result: Result) -> None:
        exchange.result = result
        self._end(exchange, refusal, monotonic())

    def _expire(self, exchange: Exchange) -> None:
        exchange.result = Result.FAILED
        if exchange.upstream is not None:
            exchange.upstream.cancel()
        self._end(exchange, TimedOut("no answer in time"), monotonic())

    def _end(self, exchange: Exchange, refusal: object | None, now: float) -> None:
        if self._ended:
            return
        self._ended = True
        self.phase = DONE
        # Nothing sends it again, and a connection that is being made for it is kept for others.
        exchange.ended = now
        if self._timer is not None:
            # It knows the exchange.
            self._timer.cancel()
            self._timer = None
        self._done(exchange, refusal, now)


def inquiry(original: Request, path: str, names: frozenset[bytes]) -> Request:
    """A GET request about `original`, with those of its fields that are named, in lower case."""
    request = Request()
    request.method = "GET"
    request.path, request.target = path, path.encode("ascii")
    request.sent_path = None
    request.authority, request.host = original.authority, original.host
    # So that the response comes without chunks and interim responses.
    request.http11 = request.keep_alive = request.expects_continue = False
    request.length = 0
    request.authorization = None
    request.provenance = original.provenance
    request.upgrade = ()
    request.own_fields = []
    request.joined = b""
    request.values = None
    request.fields = _chosen(original.fields, names)
    request.fields += (b"\r\nx-forwarded-method: ", original.method.encode("ascii"))
    request.fields += (b"\r\nx-forwarded-uri: ", original.target)
    return request


def replace_fields(request: Request, names: Iterable[bytes], fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Remove all fields of these names, in every spelling that some server reads as the same, and add `fields`."""
    plain = frozenset(map(folded, names))
    kept: list[bytes] = []
    for i in range(0, len(request.fields), 2):
        if folded(request.fields[i][2:-2]) not in plain:
            kept += request.fields[i : i + 2]
    for name, value in fields:
        kept += (b"\r\n%b: " % name, value)
    # Other requests may share the lists, the fields in one piece, and the values that were looked up.
    request.fields, request.joined, request.values = kept, b"", None
    request.own_fields = [each for each in request.own_fields if folded(each[0]) not in plain]


def _chosen(fields: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    chosen: list[bytes] = []
    for i in range(0, len(fields), 2):
        if fields[i][2:-2].lower() in names:
            chosen += fields[i : i + 2]
    return chosen
