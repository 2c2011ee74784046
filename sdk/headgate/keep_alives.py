"""Keep-alives of all leases of this process, over one stream to one control plane.

Renewals that are due at nearly the same time are sent in one message, and stay together from then on. Every message is
answered; a stream without an answer for too long is closed, and its renewals are sent to the next control plane. A
control plane of a version without the stream gets one call for each renewal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio

from headgate.errors import Forbidden, HeadgateError, Unavailable
from headgate_api.v1 import registry_pb2 as pb

if TYPE_CHECKING:
    from headgate.links import Links

log = logging.getLogger("headgate")

TOGETHER = 0.25
"""Seconds that a renewal waits for others, if this process holds several leases: at most `_SHARE` of its time."""
_SHARE = 0.02
OF_A_MESSAGE = 1000
"""Most leases in one message."""
TRIES = 3
"""Streams over which a renewal is tried when one takes the place of the other."""
LOOK_AGAIN = 300.0
"""Seconds before the stream is tried again at a control plane that did not know it."""

_LOST = "Internal error from Core"
"""What gRPC itself makes of the control plane's reason to end a stream on which a message is being sent. The next
stream gets the reason again."""

Metadata = tuple[tuple[str, str], ...]
State = tuple[float, bool, bool]
"""ttl, removed, draining."""


class Unsupported(Exception):
    """The control plane does not know the stream."""


class Replaced(Exception):
    """The stream was closed because there is another credential, or ended for a reason that was lost: renew over the
    one that takes its place."""


class LeaseEnded(Exception):
    """The lease has ended: register again."""


@dataclass(slots=True)
class _Batch:
    """Renewals that are sent in one message."""

    renewals: dict[int, tuple[pb.Holding, asyncio.Future[State]]] = field(default_factory=dict)

    def fail(self, error: Exception) -> None:
        for _, outcome in self.renewals.values():
            _fail(outcome, error)


def _fail(outcome: asyncio.Future[State], error: Exception) -> None:
    if not outcome.done():
        outcome.set_exception(error)
        outcome.exception()  # otherwise it would be logged if the waiting task has ended


class Stream:
    """One stream, from its first message until it breaks; it cannot be used after that."""

    def __init__(
        self,
        call: Any,
        peer: str,
        translate: Callable[[grpc.aio.AioRpcError], HeadgateError],
        patience: float,
    ) -> None:
        """`patience`: seconds that an answer may take."""
        self.ended = False
        self._call = call
        self._peer = peer
        self._translate = translate
        self._patience = patience
        self._known: dict[int, State] = {}
        """The last reported state of the leases of the stream."""
        self._waiting = _Batch()
        self._timer: asyncio.TimerHandle | None = None
        self._sent: dict[int, _Batch] = {}
        self._number = 0
        self._released: list[int] = []
        """Leases to release that have not been sent to the control plane yet."""
        self._dropped: set[int] = set()
        """Leases that were released while an answer about them was due."""
        self._outgoing: asyncio.Queue[pb.KeepRegisteredRequest] = asyncio.Queue()
        self._tasks = (
            asyncio.create_task(self._read(), name="headgate: keep-alives, reading"),
            asyncio.create_task(self._write(), name="headgate: keep-alives, writing"),
        )

    @property
    def idle(self) -> bool:
        """Whether it has no leases and no pending answers."""
        batches = (self._waiting, *self._sent.values())
        return not (self._known or any(batch.renewals for batch in batches))

    async def renew(self, holding: pb.Holding, ttl: float) -> State:
        """Renew a lease of `ttl` seconds. Raises LeaseEnded, Unsupported, Replaced, HeadgateError."""
        loop = asyncio.get_running_loop()
        _, outcome = self._waiting.renewals.setdefault(holding.lease_id, (holding, loop.create_future()))
        if self._timer is None:
            alone = set(self._known) <= {holding.lease_id}
            self._timer = loop.call_later(0 if alone else min(TOGETHER, ttl * _SHARE), self._flush)
        return await asyncio.shield(outcome)

    def release(self, lease: int) -> None:
        """Release a lease; the next message tells the control plane. A pending renewal of it fails."""
        gone = Unavailable(f"{self._peer}: the lease was released")
        if (asked := self._waiting.renewals.pop(lease, None)) is not None:
            _fail(asked[1], gone)
        for batch in self._sent.values():
            if (asked := batch.renewals.pop(lease, None)) is not None:
                _fail(asked[1], gone)
                self._dropped.add(lease)
        if self._known.pop(lease, None) is not None or lease in self._dropped:
            self._released.append(lease)

    async def close(self, why: Exception | None = None) -> None:
        """End the stream; pending renewals fail, with the reason that is given."""
        self._end(why or Unavailable(f"{self._peer}: the stream of keep-alives was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flush(self) -> None:
        self._timer = None
        asked = list(self._waiting.renewals.values())
        self._waiting = _Batch()
        for first in range(0, len(asked), OF_A_MESSAGE):
            part = asked[first : first + OF_A_MESSAGE]
            batch = _Batch({holding.lease_id: (holding, outcome) for holding, outcome in part})
            if self.ended:
                batch.fail(Unavailable(f"{self._peer}: the stream of keep-alives ended"))
            else:
                self._send(batch)

    def _send(self, batch: _Batch) -> None:
        self._number += 1
        message = pb.KeepRegisteredRequest(number=self._number, release=self._released)
        self._released = []
        for lease, (holding, _) in batch.renewals.items():
            if lease in self._known:
                message.renew.append(lease)
            else:
                message.hold.append(holding)
                self._dropped.discard(lease)
        self._sent[self._number] = batch
        self._outgoing.put_nowait(message)
        asyncio.get_running_loop().call_later(self._patience, self._overdue, self._number)

    def _overdue(self, number: int) -> None:
        if number in self._sent:
            self._end(Unavailable(f"{self._peer} does not answer: timed out"))

    async def _write(self) -> None:
        # If the stream has ended, reading raises the reason.
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            while not self.ended:
                await self._call.write(await self._outgoing.get())

    async def _read(self) -> None:
        error: Exception = Unavailable(f"{self._peer} ended the stream of keep-alives")
        try:
            while isinstance(answer := await self._call.read(), pb.KeepRegisteredResponse):
                self._answered(answer)
        except grpc.aio.AioRpcError as ended:
            error = self._reason(ended)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        finally:
            self._end(error)

    def _reason(self, ended: grpc.aio.AioRpcError) -> Exception:
        if ended.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Unsupported()
        if ended.code() is grpc.StatusCode.INTERNAL and ended.details() == _LOST:
            return Replaced()
        return self._translate(ended)

    def _answered(self, answer: pb.KeepRegisteredResponse) -> None:
        told = {state.lease_id: state for state in answer.states}
        for state in answer.states:
            if state.lease_id in self._dropped:
                continue
            if state.ended or state.refused:
                self._known.pop(state.lease_id, None)
            elif not state.problem:
                self._known[state.lease_id] = state.ttl, state.removed, state.draining
        batch = self._sent.pop(answer.number, None)
        if not self._sent:
            self._dropped.clear()
        if batch is None:
            return
        for lease, (_, outcome) in batch.renewals.items():
            self._settle(outcome, lease, told.get(lease), answer.problem)

    def _settle(
        self, outcome: asyncio.Future[State], lease: int, told: pb.LeaseState | None, problem: str
    ) -> None:
        if told is not None and told.ended:
            _fail(outcome, LeaseEnded())
        elif told is not None and told.refused:
            _fail(outcome, Forbidden(told.refused))
        elif (why := problem or (told.problem if told is not None else "")) or lease not in self._known:
            why = why or "nothing was said of the lease"
            _fail(outcome, Unavailable(f"{self._peer} does not answer: {why}"))
        elif not outcome.done():
            outcome.set_result(self._known[lease])

    def _end(self, error: Exception) -> None:
        if self.ended:
            return
        self.ended = True
        self._known.clear()
        self._call.cancel()
        if self._timer is not None:
            self._timer.cancel()
        batches = [*self._sent.values(), self._waiting]
        self._sent.clear()
        for batch in batches:
            batch.fail(error)


class KeepAlives:
    """The stream of a process to its current control plane, opened for the first renewal."""

    def __init__(
        self,
        links: Links,
        metadata: Callable[[], Metadata],
        translate: Callable[[grpc.aio.AioRpcError, int], HeadgateError],
        peer: Callable[[int], str],
        patience: float,
    ) -> None:
        """`translate` and `peer` take the position of an address in the target; `patience` as for Stream."""
        self._links = links
        self._metadata = metadata
        self._translate = translate
        self._peer = peer
        self._patience = patience
        self._open: dict[int, tuple[Stream, Metadata, contextlib.AsyncExitStack]] = {}
        self._opening = asyncio.Lock()
        self._unknown: dict[int, float] = {}
        """The times until which the stream is not tried at control planes that do not know it."""

    async def renew(self, at: int, holding: pb.Holding, ttl: float) -> State:
        """Renew a lease at the control plane at this position in the list of addresses.

        Raises LeaseEnded, Unsupported, HeadgateError.
        """
        now = asyncio.get_running_loop().time()
        if self._unknown.get(at, now) > now:
            raise Unsupported
        for _ in range(TRIES):
            try:
                return await (await self._stream(at)).renew(holding, ttl)
            except Unsupported:
                self._unknown[at] = now + LOOK_AGAIN
                raise
            except Replaced:
                continue
        raise Unavailable(f"{self._peer(at)}: the token changes all the time")

    async def release(self, lease: int) -> None:
        """Stop renewing a lease; without leases the stream is closed."""
        for at, (stream, _, _) in list(self._open.items()):
            stream.release(lease)
            if stream.idle:
                await self._close(at)

    async def close(self) -> None:
        """Close every stream."""
        for at in list(self._open):
            await self._close(at)

    async def _stream(self, at: int) -> Stream:
        """The open stream to one control plane."""
        async with self._opening:
            metadata = self._metadata()
            found = self._open.get(at)
            if found is not None and not found[0].ended and found[1] == metadata:
                return found[0]
            # A stream keeps the credential with which it was opened.
            await self._close(at, Replaced())
            async with contextlib.AsyncExitStack() as stack:
                stub = await stack.enter_async_context(self._links.use(at))
                call = cast(Any, stub).KeepRegistered(metadata=metadata)  # the stubs want an iterator
                stream = Stream(
                    call, self._peer(at), lambda error: self._translate(error, at), self._patience
                )
                self._open[at] = stream, metadata, stack.pop_all()
            return stream

    async def _close(self, at: int, why: Exception | None = None) -> None:
        if (found := self._open.pop(at, None)) is not None:
            await found[0].close(why)
            await found[2].aclose()
