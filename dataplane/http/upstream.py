"""A connection to an instance: sends one request at a time, reads its response, hands both on piece by piece.

States: idle in the pool (no exchange) → busy (an exchange) → idle again, or closed. Parser callbacks only collect;
what they collected is acted on when the parser returns, so that a response's head and the body that came with it
leave in one write. A response is believed as little as a request: whatever cannot be read in one way only is a 502,
or, when the head has already gone out, a body that is visibly cut short. The connection is then never used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserError, HttpResponseParser

from dataplane.http.answers import (
    CHUNKS,
    LAST_CHUNK,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    Answer,
    BadAnswer,
    answer_head,
    chunk,
    interim_head,
    read_answer,
)
from dataplane.http.headers import CHUNKED
from dataplane.http.names import RESPONSE_NAMES, collector
from dataplane.http.refusals import BadResponse, Unavailable
from dataplane.policy.breaker import Outcome

if TYPE_CHECKING:
    from dataplane.http.exchange import Exchange
    from dataplane.http.pool import Endpoint
    from dataplane.http.server import Server

UNPARSED: Final = 65_536
"""A body of known length with more than this to come passes without the parser and its copies."""
JOINED: Final = 16_384
"""Up to this many bytes, joining pieces is cheaper than a vectored write."""
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Idempotent methods (RFC 9110 section 9.2.2)."""


class Upstream(asyncio.Protocol):
    """One connection. `exchange` is the one it carries, or None while it is idle."""

    __slots__ = (
        "_answer",
        "_chunked",
        "_complete",
        "_credits",
        "_head_bytes",
        "_interim",
        "_keep",
        "_left",
        "_parser",
        "_passing",
        "_paused",
        "_pieces",
        "_raw",
        "_server",
        "_special",
        "_used",
        "endpoint",
        "exchange",
        "idle_since",
        "on_body",
        "on_header",
        "on_message_begin",
        "transport",
        "write_paused",
    )

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.write_paused = False
        self._server = server
        self._passing: list[bytes] = []
        self._special: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._credits: list[None] = []
        self._interim: list[bytes] = []
        self._parser: HttpResponseParser | None = None
        self._answer: Answer | None = None
        self._chunked = self._complete = self._keep = self._paused = self._used = False
        self._head_bytes = self._left = self._raw = 0
        self.on_header = collector(RESPONSE_NAMES, self._passing, self._special)
        self.on_body: Callable[[bytes], None] = self._pieces.append
        # Each request allows one response to begin: with no credit left, pop() fails and the parser stops.
        self.on_message_begin: Callable[[], None] = self._credits.pop

    # --- the exchange's side

    def send(self, exchange: Exchange, now: float) -> None:
        """Send the head and what there is of the body; from now on the response belongs to `exchange`."""
        self.exchange = exchange
        exchange.upstream = self
        exchange.sent_at = now
        self._answer = None
        self._complete = False
        self._credits.append(None)
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        if exchange.body or not exchange.complete:
            self._write([exchange.head, *_framed(exchange)])
        else:
            self.transport.write(exchange.head)

    def send_body(self, exchange: Exchange) -> None:
        """Send the pieces of the request body that have come since."""
        self._write(_framed(exchange))

    def pause(self) -> None:
        """Stop reading: the client takes no more for now."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def cancel(self) -> None:
        """Nobody waits for the response any more: leave at once."""
        self.exchange = None
        self.transport.abort()

    def close(self) -> None:
        """End an idle connection."""
        self.transport.close()

    def keep(self, now: float) -> None:
        """Leave a clean connection to the pool, or end it."""
        if not self.endpoint.give(self, now):
            self.transport.close()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(self._server.bounds.write_buffer)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Nobody asked: whatever this is, it must not be taken for the next response.
            self.endpoint.forget(self)
            self.transport.abort()
            return
        if self._left:
            self._pass(exchange, data)
            return
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self._survives(exchange, error):
                return
        if self._answer is None:
            self._await_head(exchange, len(data))
        else:
            self._relay(exchange, self._answer, len(data))

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.client.settle_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.client.settle_reading()

    def eof_received(self) -> None:
        exchange = self.exchange
        answer = self._answer
        if exchange is not None and answer is not None and answer.framing == UNTIL_CLOSE:
            self._complete, self._keep = True, False
            self._relay(exchange, answer, 0)
        else:
            self._ended("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended("reset the connection" if exc is not None else "closed the connection")
        self._parser = None

    # --- parser callbacks

    def on_headers_complete(self) -> None:
        exchange, parser = self.exchange, self._parser
        assert exchange is not None and exchange.request is not None and parser is not None
        status = parser.get_status_code()
        passing = self._passing.copy()
        if 100 <= status < 200:
            self._credits.append(None)
            self._interim_response(exchange, status, passing)
        else:
            self._keep = keep = parser.should_keep_alive()
            to_head = exchange.request.method == "HEAD"
            self._answer = answer = read_answer(
                status, passing, self._special, to_head, keep, parser.get_http_version
            )
            if answer.framing == NO_BODY:
                self._complete = True
        self._passing.clear()
        self._special.clear()

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._complete = True

    # --- inside

    def _survives(self, exchange: Exchange, error: HttpParserError) -> bool:
        """The parser stopped: after a whole response that only costs the connection."""
        if self._complete:
            self._keep = False
            return True
        cause = error.__context__
        self._fail(exchange, BadResponse(str(cause if isinstance(cause, BadAnswer) else error)))
        return False

    def _interim_response(self, exchange: Exchange, status: int, passing: list[bytes]) -> None:
        """RFC 9110 section 15.2: passed on to HTTP/1.1, 100 only to those who asked for it."""
        request = exchange.request
        assert request is not None
        head = interim_head(status, passing, self._special)
        if request.http11 and (status != 100 or request.expects_continue):
            self._interim.append(head)

    def _await_head(self, exchange: Exchange, size: int) -> None:
        self._head_bytes += size
        if self._interim:
            exchange.client.transport.write(b"".join(self._interim))
            self._interim.clear()
        if self._head_bytes > self._server.bounds.head:
            self._fail(exchange, BadResponse("head too long"))

    def _relay(self, exchange: Exchange, answer: Answer, raw: int) -> None:
        """Hand on what the parser collected: the head if it is new, body pieces, the end."""
        now = monotonic()
        client = exchange.client
        out = [] if exchange.responded else self._begin(exchange, answer, now)
        size = 0
        if pieces := self._pieces:
            size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
            if answer.framing == NO_BODY:
                # A body where none may be (HEAD): it ends here, and so does the connection.
                self._keep = False
            else:
                exchange.sent += size
                out += chunk(pieces, size) if self._chunked else pieces
            pieces.clear()
        if self._complete and self._chunked:
            out.append(LAST_CHUNK)
        if size <= JOINED:
            client.transport.write(b"".join(out))
        else:
            client.transport.writelines(out)
        if self._complete:
            self._finish(exchange, answer, now)
        else:
            self._go_on(exchange, answer, raw, now)

    def _begin(self, exchange: Exchange, answer: Answer, now: float) -> list[bytes]:
        """The head, in pieces, after what interim responses there were."""
        request, server = exchange.request, self._server
        assert request is not None
        exchange.streamed_at = now
        exchange.responded = True
        exchange.status = answer.status
        http11 = request.http11
        exchange.keep_alive = keep = (
            request.keep_alive
            and exchange.complete
            and not server.draining
            and (http11 or answer.framing <= LENGTH)
        )
        self._chunked = http11 and answer.framing >= CHUNKS
        head = answer_head(answer, http11, keep, exchange.request_id, server.date)
        if self._interim:
            head[:0] = self._interim
            self._interim.clear()
        return head

    def _go_on(self, exchange: Exchange, answer: Answer, raw: int, now: float) -> None:
        """The body goes on: bound the framing, or, where the length is known, leave the parser out of it."""
        exchange.client.touch(exchange, now)
        if exchange.client.write_paused:
            self.pause()
        if answer.framing == LENGTH:
            left = answer.length - exchange.sent
            if left > UNPARSED:
                self._left = left
                self._parser = None
        elif answer.framing == CHUNKS:
            self._raw += raw
            bounds = self._server.bounds
            if self._raw > bounds.head + bounds.framing + 8 * exchange.sent:
                self._fail(exchange, BadResponse("more framing than data"))

    def _pass(self, exchange: Exchange, data: bytes) -> None:
        """A piece of a body of known length, unparsed."""
        if len(data) > self._left:
            data = data[: self._left]
            self._keep = False
        self._left -= len(data)
        exchange.sent += len(data)
        client = exchange.client
        client.transport.write(data)
        now = monotonic()
        if not self._left:
            assert self._answer is not None
            self._finish(exchange, self._answer, now)
            return
        client.touch(exchange, now)
        if client.write_paused:
            self.pause()

    def _finish(self, exchange: Exchange, answer: Answer, now: float) -> None:
        """The response is whole: keep the connection if nothing is left over on it, tell the client's side."""
        self.exchange = exchange.upstream = None
        self._head_bytes = self._raw = 0
        if answer.framing == NO_BODY:
            # The parser may still expect the body that the answer to a HEAD announced.
            self._parser = None
        if self._keep and exchange.complete and not self.write_paused:
            if self._paused:
                # Never kept while paused: its next response would not be heard.
                self.resume()
            self._used = True
            self.keep(now)
        else:
            self.transport.abort()
        exchange.outcome = Outcome.FAILURE if exchange.status >= 500 else Outcome.SUCCESS
        exchange.client.completed(exchange, now)

    def _ended(self, how: str) -> None:
        """The instance closed or reset the connection, which it may do while it is idle."""
        exchange = self.exchange
        if exchange is None:
            self.endpoint.forget(self)
        elif self._answer is not None or self._head_bytes:
            self._fail(exchange, BadResponse(f"{how} in the middle of its response"))
        elif self._used and not exchange.retried and _repeatable(exchange):
            # It was closing while we sent (RFC 9112 section 9.3.1): once more, on a fresh connection.
            self._detach(exchange)
            exchange.retried = True
            self._server.dial(exchange)
        else:
            self._fail(exchange, Unavailable(how))

    def _detach(self, exchange: Exchange) -> None:
        self.exchange = exchange.upstream = None
        self.transport.abort()

    def _fail(self, exchange: Exchange, refusal: BadResponse | Unavailable) -> None:
        self._detach(exchange)
        exchange.client.failed(exchange, refusal, Outcome.FAILURE)

    def _write(self, pieces: list[bytes]) -> None:
        if len(pieces) == 1:
            self.transport.write(pieces[0])
        elif sum(map(len, pieces)) <= JOINED:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)


def _framed(exchange: Exchange) -> list[bytes]:
    """Take the body pieces that have come, in the framing the upstream head announced."""
    request = exchange.request
    assert request is not None
    pieces = exchange.body
    exchange.body = []
    if request.length != CHUNKED:
        return pieces
    framed = chunk(pieces, sum(map(len, pieces))) if pieces else []
    if exchange.complete:
        framed.append(LAST_CHUNK)
    return framed


def _repeatable(exchange: Exchange) -> bool:
    request = exchange.request
    return request is not None and not request.length and request.method in _REPEATABLE
