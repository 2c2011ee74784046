"""Reading requests from a client's bytes: heads become exchanges in a queue, bodies go to the exchange they belong to.

Parser callbacks only collect. What cannot be read becomes the `fault` of the exchange it happened in, or of one made
for it, and ends the reading: there is no telling where the next request would begin.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpRequestParser

from dataplane.http.exchange import Exchange
from dataplane.http.headers import CHUNKED, BadRequest, read_request

if TYPE_CHECKING:
    from dataplane.http.downstream import Downstream
    from dataplane.http.server import Server

logger = logging.getLogger(__name__)

UNPARSED: Final = 65_536
"""A body of known length with more than this to come is read without the parser and its copies."""


class Reader:
    """The request side of one connection."""

    __slots__ = (
        "_between",
        "_client",
        "_fields",
        "_left",
        "_overhead",
        "_parser",
        "_pieces",
        "_raw",
        "_server",
        "_size",
        "_target",
        "closed",
        "incoming",
        "on_body",
        "on_header",
        "on_message_begin",
        "on_url",
        "queue",
    )

    def __init__(self, client: Downstream, server: Server) -> None:
        self.queue: deque[Exchange] = deque()
        """Exchanges whose heads have been read and that nobody has taken up."""
        self.incoming: Exchange | None = None
        """The one whose body is being read."""
        self.closed = False
        """Nothing more is wanted: what still comes is thrown away."""
        self._client = client
        self._server = server
        self._fields: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._target: list[bytes] = []
        self._between: list[None] = [None]
        self._raw = self._size = self._left = self._overhead = 0
        fields = self._fields.append

        def on_header(name: bytes, value: bytes) -> None:
            fields((name, value))

        self.on_header = on_header
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self.on_url: Callable[[bytes], None] = self._target.append
        self.on_message_begin: Callable[[], None] = self._between.clear
        self._parser = HttpRequestParser(self)

    @property
    def in_head(self) -> bool:
        """A head has begun and not ended."""
        return not self._between and self.incoming is None

    def close(self) -> None:
        """Read nothing more."""
        self.closed = True
        self._left = 0

    def release(self) -> None:
        """The connection is gone: let go of the parser, which holds on to this object."""
        self.close()
        del self._parser

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self._left:
            data = self._pass(data)
        if self.closed or not data:
            return
        self._size = len(data)
        self._raw += self._size
        incoming = self.incoming
        received = incoming.received if incoming is not None else 0
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._malformed(error)
        if incoming is not None and incoming is self.incoming:
            self._overhead += self._size - incoming.received - sum(map(len, self._pieces)) + received
        if self.incoming is not None:
            self._body_goes_on(self.incoming)
        elif self._raw > self._server.bounds.head and not self.closed:
            self.fault(BadRequest(431, "head too long"))

    # --- parser callbacks

    def on_headers_complete(self) -> None:
        parser, target, server = self._parser, self._target, self._server
        bound = server.bounds.head
        if self._raw > bound or self._size > bound:
            self._measure_head(bound)
        client = self._client
        request = read_request(
            parser.get_method(),
            target[0] if len(target) == 1 else b"".join(target),
            self._fields,
            client.peer,
            parser.should_keep_alive(),
            parser.get_http_version,
        )
        self._fields.clear()
        target.clear()
        exchange = Exchange(client, request, request.request_id or server.request_id(), monotonic())
        self.incoming = exchange
        self.queue.append(exchange)

    def on_message_complete(self) -> None:
        incoming = self.incoming
        assert incoming is not None
        if self._pieces:
            self._collect(incoming)
        self._body_ended(incoming)

    # --- inside

    def _collect(self, exchange: Exchange) -> None:
        pieces = self._pieces
        exchange.body += pieces
        exchange.received += sum(map(len, pieces))
        pieces.clear()

    def _body_ended(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        # What fields there are now are trailers, and those are dropped (RFC 9110 section 6.5.1).
        self._fields.clear()
        self._between.append(None)
        self._raw = self._overhead = 0
        self.incoming = None
        exchange.complete = True
        if not exchange.request.keep_alive:
            self.closed = True

    def _body_goes_on(self, exchange: Exchange) -> None:
        self._collect(exchange)
        assert exchange.request is not None
        length = exchange.request.length
        if length == CHUNKED:
            if self._overhead > self._server.bounds.framing + 8 * exchange.received:
                self.fault(BadRequest(400, "more framing than data"))
        elif length - exchange.received > UNPARSED:
            self._left = length - exchange.received

    def _pass(self, data: bytes) -> bytes:
        """A piece of a body of known length, unparsed; returns what comes after the body."""
        exchange = self.incoming
        assert exchange is not None
        piece, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        exchange.body.append(piece)
        exchange.received += len(piece)
        if not self._left:
            self._body_ended(exchange)
            self._parser = HttpRequestParser(self)
        return rest

    def _measure_head(self, bound: int) -> None:
        """More was read than a head may have: was it the head?"""
        size = sum(len(name) + len(value) + 4 for name, value in self._fields) + sum(map(len, self._target))
        if size > bound:
            raise BadRequest(431, "head too long")

    def _malformed(self, error: HttpParserError) -> None:
        if self.closed:
            # Bytes after the last request: RFC 9112 section 9.6 lets us throw them away.
            return
        cause = error.__context__
        if isinstance(cause, BadRequest):
            self.fault(cause)
            return
        if isinstance(error, HttpParserCallbackError):
            logger.error("reading a request failed", exc_info=cause)
        self.fault(BadRequest(400, str(error)))

    def fault(self, bad: BadRequest) -> None:
        self.close()
        exchange = self.incoming
        if exchange is None:
            exchange = Exchange(self._client, None, self._server.request_id(), monotonic())
            self.queue.append(exchange)
        self.incoming = None
        exchange.fault = bad
