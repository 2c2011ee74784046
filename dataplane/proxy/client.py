"""A client's connection: has the gateway decide on each request and answers in order.

    queue (RequestReader) → current: decide ─→ refuse ─────────────────────→ finished → the next in the queue, or linger
                                     └→ forward → response relayed ─┘

One exchange is current; pipelined ones wait in the reader's queue, and while any waits nothing more is read, so that
the queue is bounded by one read. Every exchange ends in `_finish`, which tells the gateway; `connection_lost` sees to
those that nothing else ended.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic
from typing import Final, cast

from dataplane.proxy.connections import Connections
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.errors import TIMEOUT, TimedOut, TooLarge
from dataplane.proxy.exchange import ClientSide, Exchange, Result, Sender, take_idle
from dataplane.proxy.http1.request import CHUNKED, BadRequest
from dataplane.proxy.http1.request_reader import RequestReader
from dataplane.proxy.http1.request_writer import forwarded_fields
from dataplane.proxy.kernel import CLOSE_WAIT, CLOSED, is_broken, tcp_state, unread
from dataplane.proxy.shared import Shared
from dataplane.proxy.trust import Peer
from dataplane.proxy.tunnel import Tunnel
from dataplane.proxy.writer import Outgoing

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, so that a response that ends by closing cannot look whole."""


class Downstream(ClientSide):
    """One client connection."""

    __slots__ = (
        "_closing",
        "_connections",
        "_deadlines",
        "_dialer",
        "_ended",
        "_in_head",
        "_reader",
        "_reading",
        "_shared",
    )

    def __init__(
        self,
        shared: Shared,
        connections: Connections,
        dialer: Sender,
        deadlines: Deadlines,
        peer: Peer,
    ) -> None:
        self.current = None
        self.deadline = 0.0
        self.write_paused = False
        self._shared = shared
        self._connections = connections
        self._dialer = dialer
        self._deadlines = deadlines
        self.peer = peer
        self.address = peer.address
        self._reader = RequestReader(self, shared)
        self._reading = True
        self._closing = self._in_head = False
        self._ended = False
        """The client sends no more, and is still answered."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.outgoing = Outgoing(self.transport, self._shared.turn)
        self.transport.set_write_buffer_limits(self._shared.bounds.write_buffer)
        self.forwarded = forwarded_fields(self.peer)
        self.deadline = monotonic() + self._shared.bounds.keep_alive_timeout
        self._connections.begin(self)

    def data_received(self, data: bytes) -> None:
        current, reader = self.current, self._reader
        whole = current is None or current.complete
        reader.feed(data)
        if current is not None:
            if not whole:
                self._body_came(current)
            if reader.queue:
                self.settle_reading()
        elif reader.queue:
            self._advance()
        elif reader.in_head:
            self._head_came()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.current is not None and self.current.upstream is not None:
            self.current.upstream.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.current is None:
            self._advance()
        elif self.current.upstream is not None:
            self.touch(self.current, monotonic())
            self.current.upstream.resume()

    def eof_received(self) -> bool:
        """True where the client may still be there, for what it has asked for whole."""
        # The transport may close by itself after this, and knows nothing of what is kept for the end of the turn.
        self.outgoing.flush()
        reader = self._reader
        last = reader.queue[-1] if reader.queue else self.current
        if last is None:
            return False
        if not self._may_wait(last):
            self.left()
            return False
        assert last.request is not None
        last.request.keep_alive = last.keep_alive = False
        self._ended = True
        reader.close()
        if self.current is not None:
            self._deadlines.half_closed.watch(self.current, monotonic())
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.outgoing.drop()
        self._leave()
        self._deadlines.unread.discard(self)
        self._connections.gone(self)
        self._reader.release()

    # --- what the upstream's side asks of this one

    def touch(self, exchange: Exchange, now: float) -> None:
        """Something of the response moved: its idle time begins anew."""
        if exchange.plan is not None:
            self.deadline = now + exchange.plan.idle_timeout

    def settle_reading(self) -> None:
        """Read while there is use for what would come, or to notice that the client leaves; pause otherwise."""
        if self._ended:
            return
        wanted = self._closing or (not self._reader.queue and self._takes_more())
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._deadlines.unread.discard(self)
                self.transport.resume_reading()
            else:
                self._deadlines.unread.add(self)
                self.transport.pause_reading()

    def completed(self, exchange: Exchange, now: float) -> None:
        """The response has been handed to the transport, whole."""
        self._finish(exchange, now)
        self.current = None
        if not exchange.keep_alive:
            self._linger(exchange)
            return
        reader = self._reader
        if not reader.between:
            self._await_request(now)
        else:
            self.deadline = now + self._shared.bounds.keep_alive_timeout
        if reader.queue:
            self._advance()
        elif not self._reading:
            self.settle_reading()

    def failed(self, exchange: Exchange, refusal: object, result: Result) -> None:
        """The exchange cannot go on: refuse it, or, if the response has begun, cut it off visibly."""
        exchange.result = result
        if exchange.status:
            reply = self._shared.decider.refuse(exchange, refusal)
            exchange.decision, exchange.reason = reply.decision, reply.reason
            self._finish(exchange, monotonic())
            self.current = None
            self._reset()
        else:
            self._refuse(exchange, refusal)
            self._advance()

    def begin_tunnel(
        self, exchange: Exchange, instance: asyncio.Transport, head: bytes, first: bytes, now: float
    ) -> None:
        """Leave the connection to a tunnel: `head` is the 101, `first` what the instance has said after it."""
        early = self._reader.early or b""
        self.outgoing.flush()
        self.current = None
        self._closing = True
        self._reader.release()
        self._deadlines.unread.discard(self)
        if not self._reading:
            self.transport.resume_reading()
        tunnel = Tunnel(
            exchange, self.transport, instance, self._shared.bounds.linger_timeout, self._connections
        )
        self._connections.replace(self, tunnel)
        self._deadlines.lift(exchange)
        tunnel.begin(self._shared.decider, head, early, first, now)

    def over(self, exchange: Exchange, now: float) -> None:
        """The tunnel that this connection was left to has ended."""
        self._finish(exchange, now)

    # --- what the server asks

    def is_reset(self) -> bool:
        """Whether the client has reset a connection that nothing is read from any more."""
        return is_broken(self.transport)

    def look_at_peer(self, now: float) -> None:
        """While nothing is read, the kernel alone knows whether the client has ended its side, or the connection."""
        exchange, state = self.current, tcp_state(self.transport)
        if state == CLOSE_WAIT and exchange is not None and self._may_wait(exchange):
            self._deadlines.half_closed.watch(exchange, now)
        elif state == CLOSED or (state == CLOSE_WAIT and not self._may_end_body(exchange)):
            self.left()

    def left(self) -> None:
        """The client is gone."""
        self._leave()
        self.outgoing.abort()

    def expire(self) -> None:
        """The deadline has passed."""
        exchange = self.current
        if self._closing:
            self.outgoing.abort()
        elif exchange is None:
            self._expire_idle()
        elif exchange.status:
            self._give_up(exchange, TimedOut("the response stopped"), Result.ABANDONED)
        elif exchange.complete or (exchange.request is not None and exchange.request.expects_continue):
            self._respond_late(exchange)
        else:
            self._give_up(exchange, BadRequest(408, "the body stopped"), Result.ABANDONED)

    def overdue(self, exchange: Exchange) -> None:
        """The time for the whole exchange is up."""
        self._give_up(exchange, TimedOut("the exchange took too long"), Result.FAILED)

    def drain(self) -> None:
        """Take no new requests: close now if nothing is under way, else after the response."""
        if self.current is None and not self._reader.queue and not self._closing:
            self._closing = True
            self.outgoing.close()

    # --- inside

    def _advance(self) -> None:
        """Take up exchanges from the queue until one has to wait for its upstream."""
        reader, shared = self._reader, self._shared
        queue = reader.queue
        while queue and self.current is None and not (self.write_paused or self._closing):
            self.current = exchange = queue.popleft()
            exchange.started = now = monotonic()
            refusal = exchange.fault or shared.decider.decide(exchange, now)
            if refusal is not None:
                self._refuse(exchange, refusal)
                continue
            plan = exchange.plan
            assert plan is not None and exchange.endpoint is not None
            self.deadline = now + (plan.response_timeout if exchange.complete else shared.bounds.body_timeout)
            total = plan.total_timeout
            if total:
                self._deadlines.limit(exchange, now + total)
            idle = exchange.endpoint.idle
            if idle:
                take_idle(exchange.endpoint).send(exchange, now)
            else:
                self._dialer.dial(exchange)
        if queue or not self._reading or reader.incoming is not None:
            self.settle_reading()

    def _refuse(self, exchange: Exchange, refusal: object) -> None:
        """Answer by ourselves, in the place of this exchange's response."""
        shared, request = self._shared, exchange.request
        reply = shared.decider.refuse(exchange, refusal)
        bodiless = request is not None and request.method == "HEAD"
        http11 = request is None or request.http11
        # Another request may follow only where this one was read to its end.
        keep = request is not None and request.keep_alive and exchange.complete and not shared.draining
        exchange.keep_alive, exchange.status = keep, reply.status
        exchange.decision, exchange.reason = reply.decision, reply.reason
        exchange.sent = 0 if bodiless else len(reply.body)
        self.outgoing.write(reply.bytes(shared.date, exchange.request_id, http11, keep, bodiless))
        self._finish(exchange, monotonic())
        self.current = None
        if keep:
            self._await_request(exchange.ended)
        else:
            self._linger(exchange)

    def _finish(self, exchange: Exchange, now: float) -> None:
        """The one place where exchanges end. Those that were never taken up begin and end here."""
        if exchange.ended:
            return
        exchange.ended = now
        if not exchange.started:
            exchange.started = now
        self._shared.decider.finished(exchange)

    def _may_wait(self, last: Exchange) -> bool:
        """Whether its client may have ended its side after `last` and wait (TLS has no half-closed connections)."""
        reader = self._reader
        return (
            self._shared.bounds.half_close > 0
            and last.complete
            and not reader.in_head
            and reader.early is None
            and self.transport.can_write_eof()
        )

    def _may_end_body(self, exchange: Exchange | None) -> bool:
        """Whether what has come and not been read may be the rest of the body that is being sent."""
        if exchange is None or exchange.complete or exchange.request is None:
            return False
        plain, length = self.transport.can_write_eof(), exchange.request.length
        # Neither chunks nor TLS records tell how much of the body they hold before they are read.
        wanted = length - exchange.received if plain and length != CHUNKED else 1
        return unread(self.transport) >= wanted

    def _leave(self) -> None:
        """The client is gone: nobody waits for what is under way."""
        exchange, self.current = self.current, None
        if exchange is not None:
            if exchange.upstream is not None:
                exchange.upstream.cancel()
            self._drop(exchange, "client_left")
        self._drop_queue("client_left")

    def _drop_queue(self, decision: str) -> None:
        self._reader.close()
        while self._reader.queue:
            self._drop(self._reader.queue.popleft(), decision)

    def _drop(self, exchange: Exchange, decision: str) -> None:
        exchange.decision = decision
        exchange.result = Result.ABANDONED
        self._finish(exchange, monotonic())

    def _give_up(self, exchange: Exchange, refusal: object, result: Result) -> None:
        if exchange.upstream is not None:
            exchange.upstream.cancel()
        self.failed(exchange, refusal, result)

    def _respond_late(self, exchange: Exchange) -> None:
        """No response in time: another instance may be quicker."""
        if exchange.upstream is not None:
            exchange.upstream.cancel()
            if self._dialer.try_again(exchange, TIMEOUT):
                return
        self.failed(exchange, TimedOut("no response in time"), Result.FAILED)

    def _body_came(self, exchange: Exchange) -> None:
        """More of the current request's body has been read, or its end."""
        plan = exchange.plan
        if exchange.fault is not None:
            self._give_up(exchange, exchange.fault, Result.ABANDONED)
        elif plan is not None and plan.max_body is not None and exchange.received > plan.max_body:
            self._give_up(exchange, TooLarge(plan.max_body), Result.ABANDONED)
        else:
            if not exchange.status and plan is not None:
                bounds = self._shared.bounds
                wait = plan.response_timeout if exchange.complete else bounds.body_timeout
                self.deadline = monotonic() + wait
            if exchange.upstream is not None:
                exchange.upstream.send_body(exchange)

    def _takes_more(self) -> bool:
        """Whether body bytes of the current request have somewhere to go."""
        exchange = self.current
        if exchange is None or exchange.complete:
            return True
        return exchange.upstream is not None and not exchange.upstream.write_paused

    def _head_came(self) -> None:
        """A first part of a head: from now on the rest is expected in time (slowloris)."""
        if not self._in_head:
            self._in_head = True
            self.deadline = monotonic() + self._shared.bounds.head_timeout

    def _await_request(self, now: float) -> None:
        bounds = self._shared.bounds
        self._in_head = in_head = self._reader.in_head
        self.deadline = now + (bounds.head_timeout if in_head else bounds.keep_alive_timeout)

    def _expire_idle(self) -> None:
        if self._in_head:
            self._reader.fault(BadRequest(408, "the head did not come in time"))
            self._advance()
        else:
            self._closing = True
            self.outgoing.close()

    def _linger(self, exchange: Exchange) -> None:
        """Close, but let the client read the answer first: a reset would throw it away (RFC 9112 section 9.6)."""
        bounds = self._shared.bounds
        self._closing = True
        self._drop_queue("connection_closed")
        if exchange.complete or not self.transport.can_write_eof():
            # TLS has no half-closed connections: its closing reads on, and throws away, until the client agrees.
            self.deadline = monotonic() + bounds.body_timeout
            self.outgoing.close()
        else:
            self.deadline = monotonic() + bounds.linger_timeout
            self.outgoing.write_eof()
            self.settle_reading()

    def _reset(self) -> None:
        self._closing = True
        self.outgoing.flush()
        self._drop_queue("connection_closed")
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.outgoing.abort()
