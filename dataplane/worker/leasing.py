"""Asks the owners of leased limits, through the supervisor, and takes their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from dataplane.channel import Channel, Kind
from dataplane.gateway.policy.leased import Leased
from dataplane.gateway.policy.limiter import Limiter
from headgate_api.leases import codec
from headgate_api.leases.messages import ASKING, LEASE, Ask
from headgate_api.leases.successor import Share
from headgate_api.v1 import limits_pb2 as pb

MAX_UNREAD = 1024 * 1024
"""Bytes the supervisor may leave unread before the worker asks no more."""
HURRY = 0.005
"""Seconds between two asks about keys that run low, at least."""
HURRIES, HURRIES_PER_SECOND = 40, 20
"""Such asks without a longer pause, and from then on. Clients with ever new keys would otherwise let every worker of a
fleet send hundreds a second to one owner."""


class Haste:
    """When the next ask about keys that run low may be sent. Pure: time is an argument."""

    def __init__(self) -> None:
        self._spare = float(HURRIES)
        self._at = 0.0

    def pause(self, now: float) -> float:
        """One was sent: seconds until the next one."""
        gained = (now - self._at) * HURRIES_PER_SECOND
        self._spare, self._at = min(HURRIES, self._spare + gained) - 1, now
        return HURRY if self._spare >= 0 else max(HURRY, -self._spare / HURRIES_PER_SECOND)


class Leasing:
    """One worker's asks: the first one after a pause immediately, then ten a second; more about keys that run low."""

    def __init__(self, limiter: Limiter, channel: Channel) -> None:
        self._limiter = limiter
        self._channel = channel
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        """Set with every answer."""
        self._tidied = 0.0
        self._haste = Haste()
        self._succeeds = False
        """Whether this worker may spend shares of its predecessors."""
        limiter.wake = self._wake.set

    def wake(self) -> None:
        """The limits have changed: there may be a question."""
        self._wake.set()

    def answered(self, payload: bytes) -> None:
        """Take a frame of answers."""
        now = time.monotonic()
        for message in pb.LimitAnswers.FromString(payload).answers:
            self._limiter.answer(message.limit, message.counts_by, codec.read_answer(message), now)
        self._news.set()

    def succeed(self, rows: Iterable[Any]) -> None:
        """Take the frame of shares."""
        shares = {(limit, counts_by): Share(*terms) for limit, counts_by, *terms in rows}
        self._limiter.succeed(shares, time.monotonic())
        self._succeeds = True
        self._wake.set()

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
            if not self._limiter.leases and not self._succeeds:
                await self._wake.wait()
            now = time.monotonic()
            self.ask(now)
            # A little longer, because timers may be early.
            await self._hurry(now + ASKING + 0.002)
            if not self._limiter.asking:
                await self._woken(LEASE / 4)

    def ask(self, now: float) -> None:
        """Send all questions."""
        self._send(self._limiter.asks, now)
        if now >= self._tidied + 1.0:
            self._tidied = now
            self._limiter.tidy(now)
        if self._succeeds and not self._limiter.succeeds(now):
            self._succeeds = False
            self._channel.send(Kind.DROPPED)

    async def _hurry(self, until: float) -> None:
        """Ask about keys that run low meanwhile."""
        while (left := until - time.monotonic()) > 0:
            if not self._limiter.urgent:
                await self._woken(left)
            self._wake.clear()
            if self._limiter.urgent:
                now = time.monotonic()
                sent = self._send(self._limiter.urgent_asks, now)
                await asyncio.sleep(self._haste.pause(now) if sent else HURRY)

    async def _woken(self, within: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._wake.wait()

    def _send(self, asks: Callable[[float, bool], list[tuple[Leased, Ask]]], now: float) -> bool:
        """Send what `asks` has to ask; whether there was anything."""
        sent = False
        if self._channel.backlog > MAX_UNREAD:
            return sent
        for kind, fleet in ((Kind.NODE_ASKS, False), (Kind.FLEET_ASKS, True)):
            messages = [
                codec.ask_message(leased.limit.name, leased.counts_by, ask)
                for leased, ask in asks(now, fleet)
            ]
            if messages:
                self._channel.send(kind, pb.LimitAsks(asks=messages).SerializeToString())
                sent = True
        return sent
