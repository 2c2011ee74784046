"""A connection to an instance: sends one request at a time and hands its response on, piece by piece.

    idle, in the pool → send → response relayed → idle again └→ aborted: it failed, or bytes are left over on it

The head of a response and the body that came with it leave in one write. An ambiguous response becomes a 502 or, when
its head has already been sent, a body that is visibly truncated. The connection is then never used again.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, cast

from dataplane.proxy.content_coding import Codings
from dataplane.proxy.errors import RESET, BadResponse, Unavailable
from dataplane.proxy.exchange import Exchange, InstanceSide, Result, Sender
from dataplane.proxy.http1.edits import edit_response
from dataplane.proxy.http1.encoded import encode_head, in_chunks
from dataplane.proxy.http1.encoded_body import EncodedBody
from dataplane.proxy.http1.request_body import begin_replay, framed, repeatable
from dataplane.proxy.http1.response import (
    CHUNKS,
    LAST_CHUNK,
    LENGTH,
    TRAILED,
    UNTIL_CLOSE,
    MalformedResponse,
    Response,
    add_fields,
    chunk,
    response_head,
    withhold,
)
from dataplane.proxy.http1.response_reader import ResponseReader
from dataplane.proxy.http1.trailers import last_chunk
from dataplane.proxy.http1.upgrade import Switch, agrees, switch_head
from dataplane.proxy.pool import Endpoint
from dataplane.proxy.shared import Shared
from dataplane.proxy.socket_state import rest
from dataplane.proxy.writer import Outgoing

_NEVER: Final = float("inf")
UNPARSED: Final = 65_536
"""A body of known length with more than this to come passes without the parser and its copies."""
_ANSWERED: Final = Result.ANSWERED
_FAILED: Final = Result.FAILED


class Upstream(InstanceSide):
    """One connection. `exchange` is the one it carries, or None while it is idle."""

    __slots__ = (
        "_chunked",
        "_encoded",
        "_left",
        "_longest",
        "_paused",
        "_pooled",
        "_raw",
        "_reader",
        "_sender",
        "_shared",
        "endpoint",
        "exchange",
        "outgoing",
    )

    outgoing: Outgoing

    def __init__(self, endpoint: Endpoint, shared: Shared, sender: Sender) -> None:
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.address = ""
        self.expires = _NEVER
        self.idle_since = 0.0
        self.write_paused = False
        self._shared = shared
        self._sender = sender
        self._reader = ResponseReader(shared.response_cache)
        self._chunked = self._paused = self._pooled = False
        self._encoded: EncodedBody | None = None
        """The body, if the gateway encodes it."""
        self._left = self._raw = 0
        self._longest = shared.bounds.head

    # --- the exchange's side

    def send(self, exchange: Exchange, now: float) -> None:
        """Send the head and the body pieces that have arrived; the next response belongs to `exchange`."""
        self.exchange = exchange
        exchange.upstream = self
        exchange.sent_at = now
        exchange.client.sending(exchange, now)
        request, plan = exchange.request, exchange.plan
        assert request is not None and plan is not None
        self._reader.expect(request.method == "HEAD", plan.withheld)
        self.outgoing.write(self._shared.request_writer.head(exchange, request, self.endpoint.authority))
        if request.length:
            if exchange.attempts == 1:
                begin_replay(exchange)
            self.send_body(exchange)

    def send_body(self, exchange: Exchange) -> None:
        """Send the pieces of the request body that have arrived since."""
        pieces = framed(exchange, self._shared.bounds.replay)
        self.outgoing.writelines(pieces, sum(map(len, pieces)))

    def pause(self) -> None:
        """Stop reading: the client accepts no more bytes for now."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Resume reading."""
        if self._encoded is not None and self._encoded.pending:
            self._encoded.resume()
        elif self._paused:
            self._paused = False
            self.transport.resume_reading()

    def cancel(self) -> None:
        """The response is no longer needed: abort the connection."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream = None
        if self._encoded is not None:
            self._encoded.drop()
            self._encoded = None
        self.outgoing.abort()

    def close(self) -> None:
        """End an idle connection."""
        self.outgoing.close()

    def keep(self, now: float) -> None:
        """Return a clean connection to the pool, or close it."""
        self._pooled = True
        if not self.endpoint.give(self, now):
            self.outgoing.close()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.outgoing = Outgoing(self.transport, self._shared.turn)
        self.transport.set_write_buffer_limits(self._shared.bounds.write_buffer)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Unsolicited bytes: they must not be taken for the next response.
            self.endpoint.forget(self)
            self.outgoing.abort()
        elif self._left:
            self._pass(exchange, data)
        else:
            reader = self._reader
            try:
                reader.feed(data)
            except MalformedResponse as bad:
                self._fail(exchange, BadResponse(str(bad)))
                return
            if reader.response is None:
                self._await_head(exchange, len(data))
            else:
                self._relay(exchange, reader.response, len(data))

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.client.settle_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        exchange = self.exchange
        if exchange is not None:
            if not exchange.status:
                exchange.client.sending(exchange, monotonic())
            exchange.client.settle_reading()

    def eof_received(self) -> None:
        exchange, response = self.exchange, self._reader.response
        if exchange is not None and response is not None and response.framing == UNTIL_CLOSE:
            self._reader.end()
            self._reader.keep_alive = False
            self._relay(exchange, response, 0)
        else:
            self._ended("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.outgoing.drop()
        if exc is not None and self.exchange is not None:
            self._read_rest()
        self._ended("reset the connection" if exc is not None else "closed the connection")
        self._reader.drop_parser()

    def _read_rest(self) -> None:
        """A write has failed, or a reset has come: read what the instance had said before (RFC 9112 section 9.5).

        An instance that answers early and closes resets the connection on which the body still comes in. The event
        loop reports the failed write first, but the kernel may hold the response.
        """
        left = self._longest + UNPARSED
        while self.exchange is not None and left > 0:
            data = rest(self.transport)
            if not data:
                return
            left -= len(data)
            self.data_received(data)

    # --- the response

    def _await_head(self, exchange: Exchange, size: int) -> None:
        self._raw += size
        if self._reader.switch is not None:
            self._change(exchange, self._reader.switch)
            return
        if self._reader.interim:
            exchange.client.outgoing.writelines(self._interim(exchange), 0)
        if self._raw > self._longest:
            self._fail(exchange, BadResponse("head too long"))

    def _change(self, exchange: Exchange, switch: Switch) -> None:
        """A 101: a tunnel, if the client asked for it and the route allows it."""
        request, client = exchange.request, exchange.client
        assert request is not None
        if not agrees(switch, request):
            self._fail(exchange, BadResponse(f"101 to {switch.protocol}, which was not asked for"))
            return
        now = monotonic()
        if switch.withheld:
            self._shared.decider.told(exchange, list(switch.withheld), now)
        first = b"".join(self._reader.pieces)
        head = b"".join([*self._interim(exchange), switch_head(switch, exchange.request_id)])
        self.exchange = exchange.upstream = None
        self._reader.drop_parser()
        self.resume()
        self.outgoing.flush()
        client.begin_tunnel(exchange, self.transport, head, first, now)

    def _relay(self, exchange: Exchange, response: Response, raw: int) -> None:
        """Pass on the parsed parts: the head if it is new, body pieces, the end."""
        now = monotonic()
        reader = self._reader
        if exchange.status:
            out: list[bytes] = []
        elif raw + self._raw > self._longest and self._head_size(response) > self._longest:
            self._fail(exchange, BadResponse("head too long"))
            return
        elif response.status >= 400 and self._passed_on(exchange, response):
            return
        else:
            out = self._begin(exchange, response, now)
        if self._encoded is not None:
            self._relay_encoded(self._encoded, exchange, response, out, raw)
            return
        size = 0
        if pieces := reader.pieces:
            size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
            exchange.sent += size
            out += chunk(pieces, size) if self._chunked else pieces
            pieces.clear()
        whole = not reader.incomplete
        if whole and response.framing >= CHUNKS:
            self._withhold_trailers(exchange, now)
        if whole and self._chunked:
            ending = self._last_chunk(exchange, response)
            if ending is None:
                return
            out += ending
        exchange.client.outgoing.writelines(out, size)
        if whole:
            self._finish(exchange, now)
        else:
            self._go_on(exchange, response, raw - 9 * size, now)

    def _relay_encoded(
        self, body: EncodedBody, exchange: Exchange, response: Response, head: list[bytes], raw: int
    ) -> None:
        """As `_relay`, for a body that the gateway encodes."""
        reader = self._reader
        if body.ended:
            # Bytes after the response, which the reader has noted.
            return
        size = sum(map(len, reader.pieces))
        body.take(reader.pieces)
        reader.pieces.clear()
        if not reader.incomplete:
            if response.framing >= CHUNKS:
                self._withhold_trailers(exchange, monotonic())
            ending = self._last_chunk(exchange, response)
            if ending is None:
                return
            body.end(ending)
        elif response.framing >= CHUNKS and self._is_mostly_framing(raw - 9 * size):
            self._fail(exchange, BadResponse("more framing than data"))
            return
        if head:
            exchange.client.outgoing.writelines(head, 0)
        body.resume()

    def _encoded_ended(self, exchange: Exchange, now: float) -> None:
        self._encoded = None
        self._finish(exchange, now)

    def _last_chunk(self, exchange: Exchange, response: Response) -> list[bytes] | None:
        """The end of the body for the client, with trailers. None if they are malformed: the exchange has failed."""
        if response.framing != TRAILED:
            return [LAST_CHUNK]
        try:
            return last_chunk(self._reader.trailers(response, self._shared.bounds))
        except MalformedResponse as bad:
            self._fail(exchange, BadResponse(str(bad)))
            return None

    def _withhold_trailers(self, exchange: Exchange, now: float) -> None:
        """Give the gateway its fields in the trailers."""
        plan = exchange.plan
        if plan is not None and plan.withheld is not None:
            found = self._reader.withheld_trailers(plan.withheld)
            if found:
                self._shared.decider.told(exchange, found, now)

    def _head_size(self, response: Response) -> int:
        """More bytes were read than a head may have: find the length of the head."""
        return sum(map(len, response.head)) + sum(len(head) for _, head in self._reader.interim)

    def _begin(self, exchange: Exchange, response: Response, now: float) -> list[bytes]:
        """The head, in pieces, after what interim responses there were."""
        request, plan, shared = exchange.request, exchange.plan, self._shared
        assert request is not None and plan is not None
        if plan.withheld is not None:
            shared.decider.told(exchange, withhold(response, plan.withheld), now)
        if plan.response_edits is not None:
            edit_response(plan.response_edits, exchange, response)
        if exchange.response_fields:
            add_fields(response, exchange.response_fields)
        framing, http11 = response.framing, request.http11
        exchange.streamed_at = self.endpoint.heard_at = now
        exchange.status = response.status
        drains = shared.draining or exchange.client.entrance.draining
        exchange.keep_alive = keep = (
            request.keep_alive and exchange.complete and not drains and (http11 or framing <= LENGTH)
        )
        self._chunked = http11 and framing > LENGTH
        if plan.encoding is not None and self._encode(plan.encoding, exchange, response):
            response = in_chunks(response)
        head = response_head(response, http11, keep, exchange.request_id, shared.date)
        return [*self._interim(exchange), *head] if self._reader.interim else head

    def _encode(self, rules: Codings, exchange: Exchange, response: Response) -> bool:
        """Whether the gateway encodes the body. The head is changed accordingly."""
        request, reader, compression = exchange.request, self._reader, self._shared.compression
        assert request is not None
        held = -1 if reader.incomplete else sum(map(len, reader.pieces))
        coding = encode_head(rules, request, response, held, compression.full)
        if not coding:
            return False
        self._encoded = EncodedBody(
            compression, coding, exchange, self, self._encoded_ended, flushes=response.framing != LENGTH
        )
        return True

    def _interim(self, exchange: Exchange) -> list[bytes]:
        """RFC 9110 section 15.2: forwarded to HTTP/1.1, even a 100 that the client did not ask for."""
        request, interim = exchange.request, self._reader.interim
        assert request is not None
        heads = [head for _, head in interim]
        interim.clear()
        return heads if request.http11 else []

    def _go_on(self, exchange: Exchange, response: Response, excess: int, now: float) -> None:
        """The body continues: bound the framing, or, if the length is known, bypass the parser.

        `excess`: bytes that were read beyond what the smallest chunks need for their data.
        """
        exchange.client.touch(exchange, now)
        if exchange.client.write_paused:
            self.pause()
        if response.framing == LENGTH:
            left = response.length - exchange.sent
            if left > UNPARSED:
                self._left = left
                self._reader.drop_parser()
        elif response.framing >= CHUNKS and self._is_mostly_framing(excess):
            self._fail(exchange, BadResponse("more framing than data"))

    def _is_mostly_framing(self, excess: int) -> bool:
        """Count bytes beyond what the smallest chunks need for their data; whether they have become too many."""
        bounds = self._shared.bounds
        # Larger chunks earn no credit: trailers behind a long body could use it up.
        self._raw = max(0, self._raw + excess)
        return self._raw > bounds.head + bounds.framing

    def _pass(self, exchange: Exchange, data: bytes) -> None:
        """A piece of a body of known length, unparsed."""
        if len(data) > self._left:
            data = data[: self._left]
            self._reader.keep_alive = False
        self._left -= len(data)
        exchange.sent += len(data)
        client = exchange.client
        client.outgoing.write(data)
        now = monotonic()
        if not self._left:
            self._reader.end()
            self._finish(exchange, now)
            return
        client.touch(exchange, now)
        if client.write_paused:
            self.pause()

    # --- the end

    def _finish(self, exchange: Exchange, now: float) -> None:
        """The response is complete: keep the connection if no bytes are left over, and notify the client's side."""
        self.exchange = exchange.upstream = None
        self._raw = 0
        if self._reader.keep_alive and exchange.complete and not self.write_paused:
            if self._paused:
                # Never pooled while paused: its next response would not be read.
                self.resume()
            self._pooled = True
            if not self.endpoint.give(self, now):
                self.outgoing.close()
        else:
            self.outgoing.abort()
        exchange.result = _ANSWERED
        exchange.client.completed(exchange, now)

    def _ended(self, how: str) -> None:
        """The instance closed or reset the connection, which it may do while it is idle."""
        exchange = self.exchange
        if exchange is None:
            self.endpoint.forget(self)
        elif self._encoded is not None and self._encoded.ended:
            # All of it is at hand; the connection is not used again.
            self._reader.keep_alive = False
        elif self._reader.response is not None:
            self._fail(exchange, BadResponse(f"{how} in the middle of its response"))
        elif self._raw:
            self._lost(exchange, BadResponse(f"{how} in the middle of its response"))
        elif self._pooled and not exchange.retried and repeatable(exchange):
            # It was closing while we sent (RFC 9112 section 9.3.1): send again on a new connection.
            self.cancel()
            exchange.retried = True
            self._sender.dial(exchange)
        else:
            self._lost(exchange, Unavailable(how))

    def _lost(self, exchange: Exchange, refusal: BadResponse | Unavailable) -> None:
        """The connection ended before a response head arrived: try another instance."""
        self.cancel()
        if not self._sender.try_again(exchange, RESET):
            exchange.client.failed(exchange, refusal, _FAILED)

    def _passed_on(self, exchange: Exchange, response: Response) -> bool:
        """Whether another instance answers instead; then this response is dropped."""
        plan = exchange.plan
        assert plan is not None
        if response.status < 500 and not plan.retries_refusals:
            return False
        clean = self._reader.keep_alive and not self._reader.incomplete and exchange.complete
        self.exchange = exchange.upstream = None
        if not self._sender.try_again(exchange, str(response.status)):
            self.exchange, exchange.upstream = exchange, self
            return False
        if plan.withheld is not None:
            self._shared.decider.discarded(exchange, withhold(response, plan.withheld), monotonic())
        self._reader.pieces.clear()
        self._reader.interim.clear()
        self._raw = 0
        self._pooled = True
        if not clean or self.write_paused or not self.endpoint.give(self, monotonic()):
            self.outgoing.abort()
        return True

    def _fail(self, exchange: Exchange, refusal: BadResponse | Unavailable) -> None:
        self.cancel()
        exchange.client.failed(exchange, refusal, _FAILED)
