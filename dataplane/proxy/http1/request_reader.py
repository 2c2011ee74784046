"""Reading requests from a client's bytes: heads become exchanges in a queue, bodies go to the exchange they belong to.

A request that comes in one read, with a head that is in the cache, is read without the parser. Parser callbacks only
collect. A malformed message becomes the `fault` of its exchange, or of one that is made for it, and ends the reading:
it is not known where the next request begins.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from dataplane.proxy.exchange import ClientSide, Exchange
from dataplane.proxy.fields.provenance import adopt
from dataplane.proxy.http1.head_cache import LONGEST, LookupCredit
from dataplane.proxy.http1.names import field_sorter, request_names
from dataplane.proxy.http1.parser_errors import status_of
from dataplane.proxy.http1.pieces import AHEAD, VERSION, WHOLE, piece_end
from dataplane.proxy.http1.request import (
    copy_head,
    from_cache,
    is_cacheable,
    is_plain,
    read_request,
)
from dataplane.proxy.messages import CHUNKED, BadRequest, Request
from dataplane.proxy.shared import Shared

logger = logging.getLogger(__name__)

UNPARSED: Final = 65_536
"""A body of known length with more than this to come is read without the parser and its copies."""
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_LENGTH_HEAD: Final = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"


class RequestReader:
    """The request side of one connection."""

    __slots__ = (
        "_bounds",
        "_cause",
        "_client",
        "_credit",
        "_left",
        "_longest",
        "_names",
        "_overhead",
        "_parser",
        "_passing",
        "_pieces",
        "_raw",
        "_requests",
        "_shared",
        "_size",
        "_special",
        "_target",
        "at_boundary",
        "backlog",
        "closed",
        "incoming",
        "on_body",
        "on_header",
        "on_url",
        "queue",
        "upgrade_data",
    )

    _client: ClientSide | None
    """The owner of the connection; None once it is gone, which breaks the reference cycle."""

    def __init__(self, client: ClientSide, shared: Shared) -> None:
        self.queue: deque[Exchange] = deque()
        """Exchanges whose heads have been read and that have not been started."""
        self.backlog: memoryview | bytes = b""
        """Unparsed bytes beyond `AHEAD` requests."""
        self.incoming: Exchange | None = None
        """The exchange whose body is being read."""
        self.closed = False
        """No more requests are read: further bytes are dropped."""
        self.upgrade_data: bytes | None = None
        """Bytes after a request that offers an upgrade: of the new protocol, if the instance accepts. Else None."""
        self._client = client
        self._shared = shared
        self._bounds = bounds = shared.bounds
        self._requests = bounds.requests
        self._longest = min(LONGEST, bounds.head)
        self._credit = LookupCredit()
        self.at_boundary = True
        """Whether every request that has begun has been read completely."""
        self._raw = self._size = self._left = self._overhead = 0
        self._names = request_names(bounds.strip)
        self._cause: Exception | None = None
        """The reason a head was refused. The parser's own error loses it where an exception is being handled further
        up."""
        self._parser: HttpRequestParser | None = None
        """Made when a head must be parsed: many connections have one request, whose head is cached."""

    @property
    def in_head(self) -> bool:
        """A head has begun and not ended."""
        return not self.at_boundary and self.incoming is None

    def close(self) -> None:
        """Read nothing more."""
        self.closed = True
        self.backlog = b""
        self._left = 0

    def release(self) -> None:
        """The connection is gone: drop the references to it and to the parser, which refers to this object."""
        self.close()
        self._parser = self._client = self.incoming = None

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        if self._left:
            data = self._pass(data)
        if self.closed or not data:
            if self.upgrade_data is not None:
                self._hold_upgrade_data(data)
            return
        if self.backlog:
            self.backlog = bytes(self.backlog) + data
            return
        new: bytes | None = None
        if self.at_boundary:
            self._raw = 0
            assert self._client is not None
            if len(data) <= self._longest and not self._client.peer.trusted and self._credit.allows():
                parts = data.split(b" ", 2)
                if len(parts) == 3 and is_plain(parts[0], parts[1], self._bounds):
                    new = parts[2]
                    known = self._shared.request_cache.get(new)
                    if known is not None:
                        self._credit.hit()
                        self._serve_cached(known, parts[0], parts[1])
                        return
                self._credit.miss()
        if (len(data) <= WHOLE and not self.queue) or data.count(VERSION) < 2:
            # It has few requests, or at most one request line, perhaps after the rest of an earlier request.
            self._parse(data)
            if new is not None and self.at_boundary:
                self._cache_head(new)
        else:
            self.backlog = memoryview(data)
            self.parse_backlog()

    def parse_backlog(self) -> None:
        """Parse the bytes read, as long as the queue is short."""
        data, queue = self.backlog, self.queue
        begin, size = 0, len(data)
        while begin < size and len(queue) < AHEAD and not self.closed:
            if self._left:
                end = min(size, begin + self._left)
                self._pass(bytes(data[begin:end]))
            else:
                end = piece_end(self.incoming, data, begin)
                self._parse(data[begin:end])
            begin = end
        if self.upgrade_data is not None:
            self._hold_upgrade_data(bytes(data[begin:]))
        self.backlog = b"" if self.closed or begin == size else data[begin:]

    def _parse(self, data: memoryview | bytes) -> None:
        """Feed the parser."""
        self._size = len(data)
        if self.at_boundary:
            self._raw = 0
        goes_on = self.incoming
        parser = self._parser
        if parser is None:
            self._prepare()
            parser = self._parser = HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            self._malformed(error, bytes(data))
        except HttpParserUpgrade as pause:
            self._stopped(memoryview(data)[pause.args[0] :])
        if self.incoming is not None:
            self._body_goes_on(self.incoming, self.incoming is goes_on)
        elif not self.at_boundary:
            self._head_goes_on()

    def _prepare(self) -> None:
        """Create the parser's collecting state and its callbacks."""
        self._passing: list[bytes] = []
        self._special: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._target: list[bytes] = []
        self.on_header = field_sorter(self._names, self._passing, self._special)
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self.on_url: Callable[[bytes], None] = self._target.append

    # --- parser callbacks

    def on_message_begin(self) -> None:
        self.at_boundary = False

    def on_headers_complete(self) -> None:
        if self.incoming is not None:
            # The head that `_body_parser` begins with.
            return
        parser, target, client = self._parser, self._target, self._client
        bounds = self._bounds
        assert parser is not None and client is not None
        self._overhead = 0
        try:
            if self._size > bounds.head or self._raw + self._size > bounds.head:
                self._measure_head()
            request = read_request(
                parser.get_method(),
                target[0] if len(target) == 1 else b"".join(target),
                self._passing,
                self._special,
                client.peer,
                parser.should_keep_alive(),
                parser.get_http_version,
                bounds,
                self._names,
            )
        except Exception as error:
            self._cause = error
            raise
        self._passing.clear()
        self._special.clear()
        target.clear()
        if request.upgrade:
            self._consider_upgrade(request, parser.should_upgrade())
        self.incoming = self._begin(request)

    def on_message_complete(self) -> None:
        exchange = self.incoming
        assert exchange is not None and exchange.request is not None
        if exchange.request.length:
            if self._parser is not None and self._parser.should_upgrade():
                # The parser takes the body for another protocol: see `_stopped`.
                return
            self._collect(exchange)
            # Trailers have been collected like fields: they are dropped (RFC 9110 section 6.5.1).
            self._passing.clear()
            self._special.clear()
        self.incoming = None
        self.at_boundary = True
        # The present read does not count for the next head; if that also ends in it, it is measured.
        self._raw = -self._size
        exchange.complete = True
        if not exchange.request.keep_alive:
            self.closed = True

    # --- inside

    def _begin(self, request: Request) -> Exchange:
        self._requests -= 1
        if not self._requests:
            request.keep_alive = False
        provenance, client = request.provenance, self._client
        assert client is not None
        request_id = self._shared.request_id()
        if provenance is not None:
            shared = self._shared
            request_id = adopt(
                provenance, request_id, shared.trusted, shared.parents, from_proxy=client.peer.trusted
            )
        exchange = Exchange(client, request, request_id)
        self.queue.append(exchange)
        return exchange

    def _serve_cached(self, known: Request, method: bytes, target: bytes) -> None:
        """A complete request that is known except for its request line."""
        try:
            exchange = self._begin(from_cache(known, method, target))
        except BadRequest as bad:
            self.fault(bad)
            return
        exchange.complete = True
        assert exchange.request is not None
        if not exchange.request.keep_alive:
            self.closed = True

    def _cache_head(self, head: bytes) -> None:
        """The bytes just read were one whole request and equal `head` except for the part before its version."""
        if len(self.queue) == 1 and self._requests > 0:
            exchange = self.queue[0]
            request, cache = exchange.request, self._shared.request_cache
            if request is not None and exchange.fault is None and is_cacheable(request) and cache.admit():
                # A copy: the end of this connection may still change the request's own `keep_alive`.
                cache.put(head, copy_head(request))

    def _consider_upgrade(self, request: Request, nominated: bool) -> None:
        """A valid offer makes the request the last one; any other is ignored (module `upgrade`)."""
        if nominated and request.http11 and not request.length:
            request.keep_alive = False
        else:
            request.upgrade = ()

    def _stopped(self, rest: memoryview) -> None:
        """The parser stops after the head of every request that offers an upgrade; `rest` is what follows.

        It does so too where the offer is ignored. Then `rest` is HTTP: the body, or the next request.
        """
        while True:
            if self.incoming is not None:
                self._parser = self._body_parser(self.incoming)
            elif self.closed:
                last = self.queue[-1].request
                if last is not None and last.upgrade:
                    self.upgrade_data = b""
                    self._hold_upgrade_data(bytes(rest))
                return
            else:
                self._parser = HttpRequestParser(self)
            try:
                self._parser.feed_data(rest)
            except HttpParserError as error:
                self._malformed(error, bytes(rest))
            except HttpParserUpgrade as pause:
                rest = rest[pause.args[0] :]
                continue
            return

    def _body_parser(self, exchange: Exchange) -> HttpRequestParser:
        """A parser that is past a head with the framing of this exchange's body."""
        assert exchange.request is not None
        length = exchange.request.length
        parser = self._parser = HttpRequestParser(self)
        parser.feed_data(_CHUNKED_HEAD if length == CHUNKED else _LENGTH_HEAD % length)
        self._special.clear()
        self._passing.clear()
        self._target.clear()
        return parser

    def _hold_upgrade_data(self, data: bytes) -> None:
        assert self.upgrade_data is not None
        self.upgrade_data += data
        if len(self.upgrade_data) > self._shared.bounds.write_buffer and self._client is not None:
            # The client has sent more of the new protocol than is buffered, before a 101 has accepted it.
            self._client.outgoing.abort()

    def _collect(self, exchange: Exchange) -> None:
        pieces = self._pieces
        exchange.body += pieces
        exchange.received += sum(map(len, pieces))
        pieces.clear()

    def _head_goes_on(self) -> None:
        self._raw += self._size
        if self._raw > self._bounds.head and not self.closed:
            self.fault(BadRequest(431, "head too long"))

    def _body_goes_on(self, exchange: Exchange, began_before: bool) -> None:
        before = exchange.received
        self._collect(exchange)
        assert exchange.request is not None
        length = exchange.request.length
        if length != CHUNKED:
            left = length - exchange.received
            if left > UNPARSED:
                self._left = left
        elif began_before:
            # As for responses: larger chunks earn no credit.
            self._overhead = max(0, self._overhead + self._size - 9 * (exchange.received - before))
            if self._overhead > self._bounds.framing:
                self.fault(BadRequest(400, "more framing than data"))

    def _pass(self, data: bytes) -> bytes:
        """A piece of a body of known length, unparsed; returns what comes after the body."""
        exchange = self.incoming
        assert exchange is not None
        piece, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        exchange.body.append(piece)
        exchange.received += len(piece)
        if not self._left:
            self.on_message_complete()
            self._parser = HttpRequestParser(self)
        return rest

    def _measure_head(self) -> None:
        """More bytes were read than a head may have: check whether they are the head."""
        size = sum(len(name) + len(value) + 4 for name, value in self._special)
        size += sum(map(len, self._passing)) + sum(map(len, self._target))
        if size > self._bounds.head:
            raise BadRequest(431, "head too long")

    def _malformed(self, error: HttpParserError, data: bytes) -> None:
        if self.closed:
            # Bytes after the last request: RFC 9112 section 9.6 lets us throw them away.
            return
        cause, self._cause = self._cause or error.__context__, None
        if isinstance(cause, BadRequest):
            self.fault(cause)
            return
        if isinstance(error, HttpParserCallbackError):
            logger.error("reading a request failed", exc_info=cause)
        self.fault(BadRequest(status_of(error, data), str(error)))

    def fault(self, bad: BadRequest) -> None:
        self.close()
        exchange = self.incoming
        if exchange is None:
            assert self._client is not None
            exchange = Exchange(self._client, None, self._shared.request_id())
            self.queue.append(exchange)
        self.incoming = None
        exchange.fault = bad
