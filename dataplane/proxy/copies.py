"""Copies of requests: they are sent to another instance, and their answers are read and thrown away.

A copy is an exchange of its own, whose client takes every byte and keeps none. Nothing waits for it: it begins after
the callback in which it was made, and only its maker learns of its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.exchange import ClientSide, Copying, Exchange, Forwarding, Result, Sender, take_idle
from dataplane.proxy.phases import CONNECTING, DONE, RECEIVING, WAITING
from dataplane.proxy.pool import Endpoint
from dataplane.proxy.writer import Outgoing

logger = logging.getLogger(__name__)

MOST_ANSWER: Final = 1024 * 1024
"""Bytes of an answer that are read before the connection is closed. Shorter ones leave it to the next request."""
LONGEST: Final = 60.0
"""Seconds that a copy may take, unless its service says less."""


class Discarding(Outgoing):
    """Takes everything and keeps nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        """It has no transport."""

    def write(self, data: bytes) -> None:
        """Drop them."""

    def writelines(self, pieces: list[bytes], size: int) -> None:
        """Drop them."""

    def flush(self) -> None:
        """There is nothing."""

    def drop(self) -> None:
        """There is nothing."""

    def write_eof(self) -> None:
        """There is no connection."""

    def close(self) -> None:
        """There is no connection."""

    def abort(self) -> None:
        """There is no connection."""


class Copy(ClientSide):
    """The client of a copy."""

    __slots__ = ("_copies", "_done")

    def __init__(self, original: Exchange, copies: set[ClientSide], done: Callable[[Result], None]) -> None:
        client = original.client
        self.peer, self.address, self.entrance = client.peer, original.address, client.entrance
        self.server_name, self.forwarded = "", client.forwarded
        self.outgoing = Discarding()
        self.write_paused = False
        self.current = None
        self.phase = CONNECTING
        self.since = self.deadline = self.until = 0.0
        self._copies = copies
        self._done = done

    def begin(self, exchange: Exchange, now: float, seconds: float) -> None:
        """From now on it may take this long."""
        self.current = exchange
        self.until = now + seconds
        self.enter(CONNECTING, now, seconds)
        self._copies.add(self)

    def connecting(self, exchange: Exchange, now: float, seconds: float) -> None:
        self.enter(CONNECTING, now, seconds)

    def sending(self, exchange: Exchange, now: float) -> None:
        plan = exchange.plan
        assert plan is not None
        self.enter(WAITING, now, plan.response_timeout)

    def settle_reading(self) -> None:
        """Nothing more is to be read: the copy was made of a whole request."""

    def touch(self, exchange: Exchange, now: float) -> None:
        plan = exchange.plan
        assert plan is not None
        self.enter(RECEIVING, now, plan.idle_timeout)
        if exchange.sent > MOST_ANSWER:
            # The instance is paused, and the next tick ends the copy.
            self.write_paused = True
            self.deadline = now

    def completed(self, exchange: Exchange, now: float) -> None:
        self._end(exchange, Result.ANSWERED, now)

    def failed(self, exchange: Exchange, refusal: object, result: Result) -> None:
        self._end(exchange, result, monotonic())

    def expire(self, now: float) -> None:
        exchange = self.current
        if exchange is None:
            return
        if exchange.upstream is not None:
            exchange.upstream.cancel()
        self._end(exchange, Result.ANSWERED if exchange.status else Result.FAILED, now)

    def _end(self, exchange: Exchange, result: Result, now: float) -> None:
        if exchange.ended:
            return
        exchange.ended = now
        self.phase = DONE
        self.current = None
        self._copies.discard(self)
        self._done(result)


class Copier(Copying):
    """Sends the copies of one worker."""

    def __init__(self, dialer: Sender, deadlines: Deadlines, most_body: int) -> None:
        self.most_body = most_body
        self._dialer = dialer
        self._copies = deadlines.copies

    def send(
        self,
        original: Exchange,
        body: list[bytes],
        plan: Forwarding,
        endpoint: Endpoint,
        done: Callable[[Result], None],
    ) -> None:
        copy = Copy(original, self._copies, done)
        exchange = Exchange(copy, original.request, original.request_id)
        exchange.plan, exchange.endpoint, exchange.identity = plan, endpoint, original.identity
        exchange.body, exchange.received = body, original.received
        exchange.complete, exchange.attempts, exchange.revision = True, 1, original.revision
        exchange.started = now = monotonic()
        copy.begin(exchange, now, plan.total_timeout or LONGEST)
        asyncio.get_running_loop().call_soon(partial(self._go, exchange))

    def stop(self) -> None:
        """End all of them."""
        now = monotonic()
        for copy in list(self._copies):
            copy.expire(now)

    def _go(self, exchange: Exchange) -> None:
        endpoint = exchange.endpoint
        if exchange.ended or endpoint is None:
            return
        try:
            if endpoint.idle:
                take_idle(endpoint).send(exchange, monotonic())
            else:
                self._dialer.dial(exchange)
        except Exception:
            logger.exception("sending a copy failed unexpectedly")
            exchange.client.failed(exchange, None, Result.FAILED)
