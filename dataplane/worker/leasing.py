"""Asks the owners of leased limits, by way of the supervisor, and takes their answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from dataplane.channel import Channel, Kind
from dataplane.gateway.policy.limiter import Limiter
from headgate_api.leases import codec
from headgate_api.leases.messages import ASKING, LEASE
from headgate_api.v1 import limits_pb2 as pb

MAX_UNREAD = 1024 * 1024
"""Bytes the supervisor may leave unread before the worker asks no more."""


class Leasing:
    """One worker's asks: the first one after a pause immediately, then at most ten a second."""

    def __init__(self, limiter: Limiter, channel: Channel) -> None:
        self._limiter = limiter
        self._channel = channel
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        """Set with every answer."""
        self._tidied = 0.0
        limiter.wake = self._wake.set

    def wake(self) -> None:
        """There may be something to ask: the limits have changed."""
        self._wake.set()

    def answered(self, payload: bytes) -> None:
        """Take a frame of answers."""
        now = time.monotonic()
        for message in pb.LimitAnswers.FromString(payload).answers:
            self._limiter.answer(message.limit, message.counts_by, codec.read_answer(message), now)
        self._news.set()

    async def ready(self, within: float) -> None:
        """Wait at most this many seconds until requests of new keys can be admitted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._limiter.joining:
                    self._news.clear()
                    await self._news.wait()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._wake.clear()
            if not self._limiter.leases:
                await self._wake.wait()
            self.ask(time.monotonic())
            # A little longer, as timers may be early.
            await asyncio.sleep(ASKING + 0.002)
            if not self._limiter.asking:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEASE / 4):
                        await self._wake.wait()

    def ask(self, now: float) -> None:
        """Send what there is to ask."""
        if self._channel.backlog > MAX_UNREAD:
            return
        for kind, fleet in ((Kind.NODE_ASKS, False), (Kind.FLEET_ASKS, True)):
            asks = [
                codec.ask_message(leased.limit.name, leased.counts_by, ask)
                for leased, ask in self._limiter.asks(now, fleet)
            ]
            if asks:
                self._channel.send(kind, pb.LimitAsks(asks=asks).SerializeToString())
        if now >= self._tidied + 1.0:
            self._tidied = now
            self._limiter.tidy(now)
