"""Lease renewals of a whole process over one stream to one endpoint.

The stream is opened for the first renewal. When it breaks, or is silent while answers are due, the next endpoint is
tried and waiting renewals are sent again: renewing twice does no harm. It goes to the leader, because other members
forward renewals to the leader one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from controlplane.store.errors import AccessDenied, LeaseGone, StoreError, StoreUnavailable
from controlplane.store.etcd_client import EtcdClient, Opened
from controlplane.store.etcd_lease_calls import LeaseCall, Unexplained
from controlplane.store.renewals import Renewals

PAUSE = 0.05
"""Seconds between two streams."""
LOOK = 30.0
"""Seconds between checks whether another member leads now."""
GATHER = 0.05
"""Seconds in which renewals gather to be sent in one write. Sent one by one, 300 a second, they cost etcd twice as
much."""
AT_ONCE = 1000
"""Renewals that are sent in one turn of the event loop: a few milliseconds' work."""
TICKS = 20
"""Checks for overdue answers within the time-out."""


class _Caller:
    """Callers that wait for renewals, and the outcomes."""

    __slots__ = ("done", "found", "left")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done
        self.found: dict[int, float | StoreError] = {}
        self.left = 0

    def settle(self, lease: int, outcome: float | StoreError) -> None:
        self.found[lease] = outcome
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class LeaseStream:
    """Renews leases. Callers wait at most for the client's time-out."""

    def __init__(self, client: EtcdClient, look: float = LOOK) -> None:
        self.look = look
        self._client = client
        self._renewals: Renewals[_Caller] = Renewals()
        self._unsent: list[int] = []
        self._asked = asyncio.Event()
        self._opened: Opened | None = None
        self._address = ", ".join(client.addresses)
        """Of the endpoint that was asked last; of all, before the first one was found."""
        self._heard = 0.0
        """When this stream was opened, or last answered."""
        self._proven = False
        """Whether this stream has answered at all."""
        self._silent = False
        self._by_hand = self._next_by_hand = True
        """The transport of this stream, and of the next one; see `etcd_lease_calls`."""
        self._failures: list[str] = []
        """Of the endpoints that were tried in a row."""
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        """The time of the next check for overdue answers."""

    async def renew(self, lease: int) -> float:
        """Renew a lease, unless that was done a moment ago; return the seconds until it ends.

        Raises LeaseGone, StoreUnavailable, AccessDenied.
        """
        outcome = (await self.renew_all((lease,)))[lease]
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def renew_all(self, leases: Collection[int]) -> Mapping[int, float | StoreError]:
        """The same for many leases, each with its outcome."""
        loop = asyncio.get_running_loop()
        now, caller = loop.time(), _Caller(loop.create_future())
        asked = []
        for lease in dict.fromkeys(leases):
            if (left := self._renewals.left(lease, now)) is not None:
                caller.found[lease] = left
            else:
                asked.append(lease)
        if not asked:
            return caller.found
        if self._client.closed:
            closed = StoreUnavailable("the store is closed")
            return {**caller.found, **dict.fromkeys(asked, closed)}
        caller.left = len(asked)
        self._unsent += [lease for lease in asked if self._renewals.ask(lease, caller, now)]
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run(), name="etcd: leases")
        self._asked.set()
        if self._timer is None:
            self._tick_later()
        await caller.done
        return caller.found

    def forget(self, lease: int) -> None:
        """The lease was revoked."""
        self._renewals.forget(lease)

    async def close(self) -> None:
        """End the stream; calls that wait fail, because the store is closed."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._fail(StoreUnavailable("the store is closed"))

    # The stream

    async def _run(self) -> None:
        renewed_token = False
        while True:
            if not self._renewals:
                self._asked.clear()
                await self._asked.wait()
            self._proven = self._silent = False
            try:
                await self._stream()
            except AccessDenied as error:
                # An expired token; any refusal is tried once more with a new one.
                token = self._opened.token if self._opened else ""
                if (renewed_token and not self._proven) or not self._client.refuse(token):
                    self._fail(error)
                renewed_token = True
            except Unexplained:
                self._next_by_hand = self._proven
            except StoreUnavailable as error:
                # Silence gives no more of a reason than an end does.
                self._next_by_hand = self._proven or not (self._silent and self._by_hand)
                self._broken(error)
            except StoreError as error:
                self._fail(error)
            else:
                raise AssertionError("a stream ends with an error")
            if self._proven:
                renewed_token = False
            self._opened = None
            await asyncio.sleep(PAUSE)

    async def _stream(self) -> None:
        self._by_hand, self._next_by_hand = self._next_by_hand, True
        opened = self._opened = await self._client.open_leases(self._by_hand)
        self._address = opened.address
        self._heard = asyncio.get_running_loop().time()
        self._unsent = self._renewals.unanswered()
        self._asked.set()
        beside = (
            asyncio.create_task(self._write(opened.call), name="etcd: leases, writing"),
            asyncio.create_task(self._follow_leader(opened), name="etcd: leases, leader"),
        )
        try:
            await self._read(opened)
        finally:
            opened.call.cancel()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _write(self, call: LeaseCall) -> None:
        """Send the requested renewals. When that fails, reading raises the reason."""
        while True:
            while self._unsent:
                leases, self._unsent = self._unsent[:AT_ONCE], self._unsent[AT_ONCE:]
                await call.write(leases)
                await asyncio.sleep(0)
            self._asked.clear()
            await self._asked.wait()
            await asyncio.sleep(GATHER)

    async def _follow_leader(self, opened: Opened) -> None:
        """End the stream when another member leads: the next one goes there."""
        while self._client.members > 1:
            await asyncio.sleep(self.look)
            if await self._client.leader(opened.token) not in (None, opened.address):
                opened.call.cancel()

    async def _read(self, opened: Opened) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                answers = await opened.call.read()
                self._heard, self._proven = loop.time(), True
                self._failures.clear()
                for answer in answers:
                    lease, ttl = answer.id, answer.ttl
                    outcome = float(ttl) if ttl > 0 else LeaseGone(lease)
                    for caller in self._renewals.answered(lease, ttl, self._heard):
                        caller.settle(lease, outcome)
        except StoreUnavailable:
            if self._silent:
                raise StoreUnavailable(f"{opened.address}: no answer in time") from None
            raise

    # When it fails

    def _broken(self, error: StoreUnavailable) -> None:
        """Another endpoint is next. Once all have failed in a row, the calls that wait fail."""
        if self._opened is not None:
            self._client.avoid(self._opened.address)
        if not self._proven:
            self._failures.append(error.detail)
        if len(self._failures) >= self._client.members:
            self._fail(StoreUnavailable("; ".join(self._failures)))
            self._failures.clear()

    def _tick(self) -> None:
        """Fail overdue renewals, and end a stream that is silent although answers are due."""
        timeout, now = self._client.timeout, asyncio.get_running_loop().time()
        if now - self._tick_at > timeout / TICKS:
            # This loop was held up: answers that arrived meanwhile are read first.
            self._tick_later()
            return
        if self._opened is not None and self._is_silent(now):
            self._silent = True
            self._opened.call.cancel()
        late = StoreUnavailable("; ".join(self._failures) or f"{self._address}: no answer in time")
        self._end(self._renewals.overdue(now - timeout), late)
        self._timer = None
        if self._renewals:
            self._tick_later()

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick_at = loop.time() + self._client.timeout / TICKS
        self._timer = loop.call_at(self._tick_at, self._tick)

    def _is_silent(self, now: float) -> bool:
        oldest = self._renewals.oldest
        return (
            oldest is not None
            and now - max(oldest, self._heard) >= self._client.timeout / self._client.members
        )

    def _fail(self, error: StoreError) -> None:
        self._unsent = []
        self._end(self._renewals.overdue(float("inf")), error)

    @staticmethod
    def _end(waiters: list[tuple[int, _Caller]], error: StoreError) -> None:
        for lease, caller in waiters:
            caller.settle(lease, error)
