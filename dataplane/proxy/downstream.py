"""A client connection: asks the gateway to decide on each request, and answers requests in order.

    queue (RequestReader) → current: decide ─→ refuse ─────────────────────→ finished → the next in the queue, or linger
                                     └→ forward → response relayed ─┘

One exchange is current. Pipelined requests wait in the reader's queue, which is short, and unparsed behind it; while
any wait, nothing is read. The connection is in one phase, with one deadline (`phases`); `blame` decides which side is
charged when it passes. Every exchange ends in `_finish`, which tells the gateway; `connection_lost` ends any left open.

| end | exchanges | connection |
|---|---|---|
| `_delivered` | finishes the current one | goes on, or `_close_after` |
| `_refuse` | answers the current one and finishes it | goes on, or `_close_after` |
| `_fail` | cancels the instance's side; `_refuse`, or `_cut_off` once the response has begun | |
| `_cut_off` | finishes all | is reset, so that the response does not look whole |
| `_close_after` | finishes the queue unanswered | `_close`; lingers first if the request has not been read to its end |
| `_close` | there are none | closes when all has been sent |
| `client_left` | cancels the instance's side, finishes all | is aborted |

Longer than other modules, because each method here moves the one state machine of the connection.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, cast

from dataplane.proxy import blame
from dataplane.proxy.connections import Connections
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.errors import TIMEOUT, ClientStalled, TimedOut, TooLarge, Unavailable
from dataplane.proxy.exchange import UNDECIDED, ClientSide, Exchange, Result, Sender, take_idle
from dataplane.proxy.http1.reply_writer import whole_reply
from dataplane.proxy.http1.request_reader import RequestReader
from dataplane.proxy.messages import CHUNKED, BadRequest
from dataplane.proxy.phases import (
    CONNECTING,
    DECIDING,
    DONE,
    FLUSHING,
    FOREVER,
    IDLE,
    LINGERING,
    READING,
    RECEIVING,
    SENDING,
    TUNNELLING,
    WAITING,
)
from dataplane.proxy.shared import Shared
from dataplane.proxy.socket_state import (
    CLOSE_WAIT,
    CLOSED,
    acknowledged,
    is_broken,
    received,
    reset_on_close,
    tcp_state,
    unconfirmed,
    unread,
)
from dataplane.proxy.trust import Peer
from dataplane.proxy.tunnel import Tunnel
from dataplane.proxy.writer import Outgoing

AT_ONCE: Final = 16
"""Requests of one connection that are decided in one turn of the event loop, so that other connections get theirs."""

DECIDE_TIMEOUT: Final = 10.0
"""Seconds that a decision may take: a last bound, as everything that the gateway waits for has a shorter one."""

DRAIN_IDLE: Final = 1.0
"""Seconds that an idle connection stays open when the worker drains. A request sent to a connection that has just been
closed is lost; busy clients learn of the close from a response (RFC 9112 section 9.6)."""


class Downstream(ClientSide):
    """One client connection."""

    __slots__ = (
        "_closing",
        "_connections",
        "_deadlines",
        "_dialer",
        "_ended",
        "_progress",
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
        entrance: Entrance | None = None,
    ) -> None:
        """`entrance`: left out for a port of the settings."""
        self.current = None
        self.phase = IDLE
        self.since = self.deadline = 0.0
        self.until = FOREVER
        self.write_paused = False
        self._shared = shared
        self._connections = connections
        self._dialer = dialer
        self._deadlines = deadlines
        self.peer = peer
        self.address = peer.address
        self.entrance = shared.entrance if entrance is None else entrance
        self.server_name = ""
        self.forwarded = b""
        self._reader = RequestReader(self, shared)
        self._reading = True
        self._closing = False
        """The connection accepts no more requests."""
        self._ended = False
        """The client sends no more, and is still answered."""
        self._progress = 0
        """Bytes that the client had taken (flushing) or sent (lingering) at the last check; -1 before the first."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.peer.scheme == "https":
            self.server_name = transport.get_extra_info("server_name", "")
        self.outgoing = Outgoing(self.transport, self._shared.turn)
        self.transport.set_write_buffer_limits(self._shared.bounds.write_buffer)
        self.enter(IDLE, monotonic(), self._shared.bounds.keep_alive_timeout)
        self._connections.begin(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            if self.phase == LINGERING:
                self.enter(LINGERING, monotonic(), self._shared.bounds.linger_timeout)
            return
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
        elif reader.in_head and self.phase == IDLE:
            # The rest of the head has `head_timeout` from now on (slowloris).
            self.enter(READING, monotonic(), self._shared.bounds.head_timeout)

    def pause_writing(self) -> None:
        self.write_paused = True
        exchange = self.current
        if exchange is not None and exchange.upstream is not None:
            exchange.slowed = True
            exchange.upstream.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        exchange = self.current
        if exchange is None:
            self._advance()
        elif exchange.upstream is not None:
            self.touch(exchange, monotonic())
            exchange.upstream.resume()
        elif self.phase == FLUSHING and not self.transport.is_closing():
            self._flushed(exchange, monotonic())

    def eof_received(self) -> bool:
        """True if the client may still wait for responses to requests that it has sent whole."""
        if self.transport.is_closing():
            # TLS ends; the transport still sends its buffered bytes.
            return False
        # The transport may close by itself after this: give it the bytes buffered for the end of the turn.
        self.outgoing.flush()
        reader = self._reader
        last = reader.queue[-1] if reader.queue else self.current
        if last is None:
            return False
        if not self._may_wait(last):
            self.client_left()
            return False
        assert last.request is not None
        last.request.keep_alive = last.keep_alive = False
        self._ended = True
        reader.close()
        if self.current is not None:
            self._deadlines.half_closed.watch(self.current, monotonic())
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.current
        if exc is None and exchange is not None and self.phase == FLUSHING:
            # The transport closes by itself only when it has sent everything.
            self.current = None
            self._finish(exchange, monotonic())
        self._closing = True
        self.outgoing.drop()
        self._finish_all()
        self.phase = DONE
        self._deadlines.unread.discard(self)
        self._connections.gone(self)
        self._reader.release()

    # --- calls from the gateway and the instance's side

    def connecting(self, exchange: Exchange, now: float, seconds: float) -> None:
        self.until = _end(exchange)
        self.enter(CONNECTING, now, seconds)

    def decided(self, exchange: Exchange, refusal: object | None, now: float) -> None:
        if refusal is None:
            self._send_on(exchange, now)
        else:
            self._refuse(exchange, refusal)
        self._advance()

    def sending(self, exchange: Exchange, now: float) -> None:
        plan = exchange.plan
        assert plan is not None
        if plan.try_timeout:
            self.until = min(_end(exchange), exchange.sent_at + plan.try_timeout)
        if exchange.complete:
            self.enter(WAITING, now, plan.response_timeout)
            if exchange.timed:
                self._shared.decider.sent(exchange, now)
        else:
            self.enter(SENDING, now, self._shared.bounds.body_timeout)

    def touch(self, exchange: Exchange, now: float) -> None:
        plan = exchange.plan
        if plan is not None:
            self.enter(RECEIVING, now, plan.idle_timeout)

    def settle_reading(self) -> None:
        if self._ended:
            return
        reader = self._reader
        wanted = self._closing or (not (reader.queue or reader.backlog) and self._takes_more())
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._deadlines.unread.discard(self)
                self.transport.resume_reading()
            else:
                self._deadlines.unread.add(self)
                self.transport.pause_reading()

    def completed(self, exchange: Exchange, now: float) -> None:
        if not self.transport.get_write_buffer_size():
            # Only bytes buffered in this turn are unsent: the kernel has taken all earlier ones.
            self._delivered(exchange, now)
            return
        self._flush(exchange, now)

    def failed(self, exchange: Exchange, refusal: object, result: Result) -> None:
        exchange.result = result
        if exchange.status:
            self._cut_off(exchange, refusal)
        else:
            self._refuse(exchange, refusal)
            self._advance()

    def begin_tunnel(
        self, exchange: Exchange, instance: asyncio.Transport, head: bytes, first: bytes, now: float
    ) -> None:
        early = self._reader.upgrade_data or b""
        self.outgoing.flush()
        self.current = None
        self.phase = TUNNELLING
        self._closing = True
        self._reader.release()
        self._deadlines.unread.discard(self)
        if not self._reading:
            self.transport.resume_reading()
        tunnel = Tunnel(
            exchange, self.transport, instance, self._shared.bounds.linger_timeout, self._connections
        )
        self._connections.replace(self, tunnel)
        tunnel.begin(self._shared.decider, head, early, first, now)

    def tunnel_ended(self, exchange: Exchange, now: float) -> None:
        self.phase = DONE
        self._finish(exchange, now)

    # --- calls from the deadlines

    def is_reset(self) -> bool:
        return is_broken(self.transport)

    def look_at_peer(self, now: float) -> None:
        exchange, state = self.current, tcp_state(self.transport)
        if state == CLOSE_WAIT and exchange is not None and self._may_wait(exchange):
            self._deadlines.half_closed.watch(exchange, now)
        elif state == CLOSED or (state == CLOSE_WAIT and not self._may_end_body(exchange)):
            self.client_left()

    def client_left(self) -> None:
        self._finish_all()
        self.outgoing.abort()

    def expire(self, now: float) -> None:
        exchange, phase = self.current, self.phase
        if phase == FLUSHING:
            self._expire_flushing(now)
        elif phase == LINGERING:
            self._expire_lingering(now)
        elif phase == READING:
            self._reader.fault(BadRequest(408, "the request head did not arrive in time"))
            self._advance()
        elif exchange is None:
            self._close(now)
        elif now >= self.until:
            self._expire_total(exchange, now)
        elif phase == RECEIVING:
            self._fail(exchange, blame.late_in_receiving(self._client_stalls(), exchange.complete))
        elif phase == SENDING:
            self._fail(exchange, blame.late_in_sending(self._instance_paused(exchange)))
        elif phase == DECIDING:
            self._fail(exchange, blame.Verdict(Unavailable("no decision in time"), Result.ABANDONED))
        else:
            self._respond_late(exchange, blame.Verdict(TimedOut("no response in time"), Result.FAILED))

    def drain(self) -> None:
        if self.phase == IDLE and not self._reader.queue:
            # Its next request may be on its way: it is answered with Connection: close.
            self.deadline = min(self.deadline, monotonic() + DRAIN_IDLE)

    # --- the queue of exchanges

    def _advance(self) -> None:
        """Start exchanges until one has to wait for its instance."""
        reader, shared = self._reader, self._shared
        left = AT_ONCE
        while self.current is None and not (self.write_paused or self._closing):
            if not reader.queue:
                if not reader.backlog:
                    break
                reader.parse_backlog()
                if not reader.queue:
                    break
            if not left:
                shared.turn.soon(self._take_turn)
                break
            left -= 1
            self._take_up(reader.queue.popleft())
        if self.current is None and self.phase >= DECIDING and not self._closing:
            self.until = FOREVER
            self._await_request(monotonic())
        if reader.queue or not self._reading or reader.incoming is not None:
            self._read_on()
            self.settle_reading()

    def _take_turn(self) -> None:
        """Continue with exchanges that had to wait for earlier ones."""
        if not self._closing:
            self._advance()

    def _take_up(self, exchange: Exchange) -> None:
        """Ask the gateway to decide, then refuse the exchange or send it to its instance."""
        shared = self._shared
        self.current = exchange
        self.phase = DECIDING
        self.until = FOREVER
        exchange.started = now = monotonic()
        refusal = exchange.fault or shared.decider.decide(exchange, now)
        if refusal is None:
            self._send_on(exchange, now)
        elif refusal is UNDECIDED:
            plan = exchange.plan
            if plan is not None and plan.total_timeout:
                self.until = now + plan.total_timeout
            self.enter(DECIDING, now, DECIDE_TIMEOUT)
        else:
            self._refuse(exchange, refusal)

    def _send_on(self, exchange: Exchange, now: float) -> None:
        """Send it to its instance, immediately if there is an idle connection."""
        plan, endpoint = exchange.plan, exchange.endpoint
        assert plan is not None and endpoint is not None
        if plan.total_timeout:
            self.until = exchange.started + plan.total_timeout
        if endpoint.idle:
            take_idle(endpoint).send(exchange, now)
        else:
            self.enter(CONNECTING, now, plan.connect_timeout + 1.0)
            self._dialer.dial(exchange)

    def _read_on(self) -> None:
        """Parse more of the bytes read: they contain the body of the current exchange."""
        reader, current = self._reader, self.current
        if current is None or current.complete or reader.queue or not reader.backlog or self._closing:
            return
        reader.parse_backlog()
        self._body_came(current)

    def _refuse(self, exchange: Exchange, refusal: object) -> None:
        """Answer with a response of the gateway's own."""
        shared, request = self._shared, exchange.request
        reply = shared.decider.refuse(exchange, refusal)
        bodiless = request is not None and request.method == "HEAD"
        http11 = request is None or request.http11
        # Another request may follow only if this one was read completely.
        keep = request is not None and request.keep_alive and exchange.complete and not self._drains()
        exchange.keep_alive, exchange.status = keep, reply.status
        exchange.decision, exchange.reason = reply.decision, reply.reason
        exchange.sent = 0 if bodiless else len(reply.body)
        self.outgoing.write(whole_reply(reply, shared.date, exchange.request_id, http11, keep, bodiless))
        now = monotonic()
        if self.transport.get_write_buffer_size():
            self._flush(exchange, now)
            return
        self._finish(exchange, now)
        self.current = None
        if not keep:
            self._close_after(exchange, now)

    def _flush(self, exchange: Exchange, now: float) -> None:
        """The response is complete, but not all of it is sent: wait until the client has taken it."""
        if self.until != FOREVER:
            self.until = _end(exchange)
        self._begin_flushing(now)
        if not exchange.keep_alive:
            self._closing = True
            self._finish_queue("connection_closed")
            if exchange.complete:
                # The transport closes when it has sent everything: `connection_lost` goes on.
                self._deadlines.unread.discard(self)
                self.outgoing.close()
                return
        self.outgoing.flush()
        # Writing is paused until the transport's buffer is empty: `resume_writing` goes on.
        self.transport.set_write_buffer_limits(0)
        if not self.write_paused:
            self._flushed(exchange, now)

    def _flushed(self, exchange: Exchange, now: float) -> None:
        self.transport.set_write_buffer_limits(self._shared.bounds.write_buffer)
        self._delivered(exchange, now)

    def _delivered(self, exchange: Exchange, now: float) -> None:
        """The whole response has gone to the client."""
        self._finish(exchange, now)
        self.current = None
        self.until = FOREVER
        if not exchange.keep_alive:
            self._close_after(exchange, now)
            return
        reader = self._reader
        if reader.queue or reader.backlog:
            self._await_request(now)
            self._advance()
        else:
            self._await_request(now)
            if self._drains():
                # The head was sent before the drain, without Connection: close.
                self.drain()
            if not self._reading:
                self.settle_reading()

    def _drains(self) -> bool:
        """Whether the worker drains, or the port is closed."""
        return self._shared.draining or self.entrance.draining

    def _await_request(self, now: float) -> None:
        bounds = self._shared.bounds
        if self._reader.in_head:
            self.enter(READING, now, bounds.head_timeout)
        else:
            self.enter(IDLE, now, bounds.keep_alive_timeout)

    def _close_after(self, exchange: Exchange, now: float) -> None:
        """Close, but let the client read the answer first: a reset would throw it away (RFC 9112 section 9.6)."""
        bounds = self._shared.bounds
        self._closing = True
        self._finish_queue("connection_closed")
        if exchange.complete:
            self._close(now)
            return
        self.until = now + bounds.linger_total
        self.enter(LINGERING, now, bounds.linger_timeout)
        self.settle_reading()
        if self.transport.can_write_eof():
            self.outgoing.write_eof()
        else:
            # TLS has no half-closed connections: `close` reads and discards until the client has closed, too.
            self._progress = received(self.transport)
            self.outgoing.close()

    def _close(self, now: float) -> None:
        """Nothing is under way: close when all has been sent."""
        self._closing = True
        self._begin_flushing(now)
        self.outgoing.close()

    def _cut_off(self, exchange: Exchange, refusal: object) -> None:
        """The response has begun and cannot go on: end it so that it does not look whole."""
        reply = self._shared.decider.refuse(exchange, refusal)
        exchange.decision, exchange.reason = reply.decision, reply.reason
        self._finish(exchange, monotonic())
        self.current = None
        self._closing = True
        self.outgoing.flush()
        self._finish_queue("connection_closed")
        reset_on_close(self.transport)
        self.outgoing.abort()

    def _finish(self, exchange: Exchange, now: float) -> None:
        """The single place where exchanges end. Exchanges that were never started begin and end here."""
        if exchange.ended:
            return
        exchange.ended = now
        if not exchange.started:
            exchange.started = now
        self._shared.decider.finished(exchange)

    # --- deadlines that have passed

    def _begin_flushing(self, now: float) -> None:
        # Nearly all connections are closed before the first check, and asking the kernel is expensive.
        self._progress = -1
        self.enter(FLUSHING, now, self._flush_step())

    def _flush_step(self) -> float:
        """Seconds between two checks of the bytes that a client has acknowledged."""
        return min(self._shared.bounds.linger_timeout, self._shared.bounds.body_timeout)

    def _expire_flushing(self, now: float) -> None:
        """Go on as long as the client takes something."""
        exchange, transport, taken = self.current, self.transport, acknowledged(self.transport)
        if taken != self._progress:
            self._progress = taken
            self.enter(FLUSHING, now, self._flush_step())
        elif not unconfirmed(transport) and not transport.get_write_buffer_size():
            # The client has taken everything, and nothing has moved since: it does not answer TLS's close_notify.
            if exchange is not None:
                self.current = None
                self._finish(exchange, now)
            self.outgoing.abort()
        elif now - self.since < self._shared.bounds.body_timeout and now < self.until:
            self.deadline = min(now + self._flush_step(), self.until)
        elif exchange is not None:
            self._cut_off(exchange, ClientStalled())
        else:
            self.outgoing.abort()

    def _expire_lingering(self, now: float) -> None:
        """No bytes were reported in time. TLS does not report what it discards while it closes: ask the kernel."""
        got = received(self.transport) if self.transport.is_closing() else 0
        if got > self._progress and now < self.until:
            self._progress = got
            self.enter(LINGERING, now, self._shared.bounds.linger_timeout)
        else:
            self.outgoing.abort()

    def _expire_total(self, exchange: Exchange, now: float) -> None:
        """The time for the whole exchange is up, or that of its attempt."""
        if self.phase == SENDING:
            instance_late = self._instance_paused(exchange)
        else:
            instance_late = exchange.complete and not exchange.slowed
        in_phase = now - self.since
        if now >= _end(exchange):
            in_all = now - exchange.started
            self._fail(exchange, blame.late_in_all(self.phase, instance_late, in_phase, in_all))
            return
        verdict = blame.late_in_try(self.phase, instance_late, in_phase, now - exchange.sent_at)
        if self.phase == WAITING:
            self._respond_late(exchange, verdict)
        else:
            self._fail(exchange, verdict)

    def _instance_paused(self, exchange: Exchange) -> bool:
        return exchange.upstream is not None and exchange.upstream.write_paused

    def _client_stalls(self) -> bool:
        return self.write_paused or self.transport.get_write_buffer_size() > 0

    def _fail(self, exchange: Exchange, verdict: blame.Verdict) -> None:
        """Give up on the instance, then refuse the exchange or cut its response."""
        if exchange.upstream is not None:
            exchange.upstream.cancel()
        self.failed(exchange, verdict.refusal, verdict.result)

    def _respond_late(self, exchange: Exchange, verdict: blame.Verdict) -> None:
        """No response in time: another instance may be quicker."""
        if exchange.upstream is not None:
            exchange.upstream.cancel()
            if self._dialer.try_again(exchange, TIMEOUT):
                return
        self.failed(exchange, verdict.refusal, verdict.result)

    # --- the request's body

    def _body_came(self, exchange: Exchange) -> None:
        """More of the current request's body has been read, or its end."""
        plan = exchange.plan
        if exchange.fault is not None:
            self._fail(exchange, blame.Verdict(exchange.fault, Result.ABANDONED))
        elif plan is not None and plan.max_body is not None and exchange.received > plan.max_body:
            self._fail(exchange, blame.Verdict(TooLarge(plan.max_body), Result.ABANDONED))
        elif exchange.upstream is not None:
            exchange.upstream.send_body(exchange)
            if self.phase == SENDING:
                self.sending(exchange, monotonic())

    def _takes_more(self) -> bool:
        """Whether body bytes of the current request have somewhere to go."""
        exchange = self.current
        if exchange is None or exchange.complete:
            return True
        return exchange.upstream is not None and not exchange.upstream.write_paused

    # --- clients that leave

    def _may_wait(self, last: Exchange) -> bool:
        """Whether the client may have half-closed after `last` and wait for the response (TLS cannot half-close)."""
        reader = self._reader
        return (
            self._shared.bounds.half_close > 0
            and last.complete
            and not reader.in_head
            and reader.upgrade_data is None
            and self.transport.can_write_eof()
        )

    def _may_end_body(self, exchange: Exchange | None) -> bool:
        """Whether the unread bytes may be the rest of the current request's body."""
        if exchange is None or exchange.complete or exchange.request is None:
            return False
        plain, length = self.transport.can_write_eof(), exchange.request.length
        # Neither chunks nor TLS records tell how much of the body they hold before they are read.
        wanted = length - exchange.received if plain and length != CHUNKED else 1
        return unread(self.transport) >= wanted

    def _finish_all(self) -> None:
        """The client is gone: cancel the current exchange, and finish it and the queue."""
        exchange, self.current = self.current, None
        if exchange is not None:
            if self.phase < FLUSHING:
                exchange.result = self._charge_for_leaving(exchange)
            if exchange.upstream is not None:
                exchange.upstream.cancel()
            exchange.decision = "client_left"
            self._finish(exchange, monotonic())
        self._finish_queue("client_left")

    def _charge_for_leaving(self, exchange: Exchange) -> Result:
        plan, endpoint = exchange.plan, exchange.endpoint
        if plan is None or endpoint is None:
            return Result.ABANDONED
        waited, heard = monotonic() - self.since, endpoint.heard_at >= self.since
        return blame.left(self.phase, waited, plan.response_timeout, heard)

    def _finish_queue(self, decision: str) -> None:
        """Read no more, and finish the pipelined requests unanswered."""
        self._reader.close()
        while self._reader.queue:
            exchange = self._reader.queue.popleft()
            exchange.decision = decision
            self._finish(exchange, monotonic())


def _end(exchange: Exchange) -> float:
    """Deadline of the whole exchange."""
    plan = exchange.plan
    return exchange.started + plan.total_timeout if plan is not None and plan.total_timeout else FOREVER
