"""The keep-alive stream: one process renews everything that it holds, many leases with a message.

Each stream is one task, which reads, renews and answers in turn: a process that sends faster than the store renews is
read more slowly, and so is one that sends more than it needs. One task ends the streams of all processes for outside
reasons: a withdrawn credential, a silent process, or the end of the control plane.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from controlplane.commands.commands import Commands
from controlplane.rpc.credentials import RECHECK, Caller, Credentials, Right
from controlplane.rpc.errors import Code, Context, Refused, rescued, store_trouble
from controlplane.store import LeaseGone, StoreError
from headgate_api.v1 import registry_pb2 as pb

METHOD = "KeepRegistered"

MOST_BYTES = 1024 * 1024
"""Of one message."""
AT_ONCE = 1000
"""Leases of one message that are renewed at the same time: a few milliseconds' work."""
SLICE = 200
"""Streams that are checked in one turn of the event loop."""

_ENDED = (0.0, True, False, False)
State = tuple[float, bool, bool, bool]
"""ttl, ended, removed, draining: as in LeaseState."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on the requests of processes to one control plane."""

    streams: int = 25_000
    """Concurrent streams; in the worst case each has its own connection."""
    held: int = 10_000
    """Leases of one stream."""
    named: int = 10_000
    """Leases that one message names."""
    burst: float = 50.0
    """Messages of one stream that are read at once."""
    rate: float = 10.0
    """Messages of one stream that are read per second from then on. A process needs a few per second at most."""
    silence: float = 150.0
    """Seconds without a message after which a stream is ended: the longest lease is renewed every 100 s."""


@dataclass(slots=True, eq=False)
class _Session:
    """One stream."""

    context: Context
    caller: Caller
    credential: object
    """The caller's credential: sessions that share it are checked together."""
    task: asyncio.Task[Any] | None
    heard: float
    """Time of the last message."""
    tokens: float
    """Messages that may be read at once."""
    held: dict[int, tuple[str, State | None]] = field(default_factory=dict)
    """By lease: the name of the instance ("service/id"), and the last answer about it."""
    ending: Refused | None = None

    def services(self) -> Iterator[str]:
        """The services of its leases; some perhaps several times."""
        return (name.partition("/")[0] for name, _ in self.held.values())

    def end(self, why: Refused) -> None:
        """End the stream from outside of its task."""
        if self.ending is None and self.task is not None:
            self.ending = why
            self.task.cancel()


class KeepAliveStreams:
    """Serves RegistryService.KeepRegistered."""

    def __init__(
        self,
        commands: Commands,
        credentials: Credentials,
        *,
        bounds: Bounds = Bounds(),
        recheck: float = RECHECK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`recheck`: seconds from one look at the credentials of all streams to the next.

        `clock` gives monotonic seconds.
        """
        self._commands = commands
        self._credentials = credentials
        self._bounds = bounds
        self._recheck = recheck
        self._clock = clock
        self._sessions: set[_Session] = set()
        commands.counts.streams = self.measure
        self._stopping = False

    def measure(self) -> tuple[int, int]:
        """Streams that are open, and the leases that they hold."""
        return len(self._sessions), sum(len(session.held) for session in self._sessions)

    def handlers(self) -> dict[str, Any]:
        """The method by its name, for the server. Messages are bytes, so that their size is checked before they are
        parsed."""
        return {METHOD: grpc.stream_stream_rpc_method_handler(self.stream)}

    def stop(self) -> None:
        """End every stream; their processes go to another control plane."""
        self._stopping = True
        for session in self._sessions:
            session.end(_stopping())

    async def stream(self, _: object, context: Context) -> None:
        """One process's stream, until either side ends it."""
        async with rescued(context, "registry", self._credentials.refused):
            caller = await self._credentials.require(Right.REGISTER, context)
            if self._stopping:
                raise _stopping()
            if len(self._sessions) >= self._bounds.streams:
                raise Refused(
                    Code.RESOURCE_EXHAUSTED, f"{self._bounds.streams} keep-alive streams are already open"
                )
            credential = self._credentials.presented(context)
            session = _Session(
                context, caller, credential, asyncio.current_task(), self._clock(), self._bounds.burst
            )
            self._sessions.add(session)
            try:
                await self._serve(session)
            except asyncio.CancelledError:
                if session.ending is None:
                    raise
                raise session.ending from None
            finally:
                self._sessions.discard(session)

    async def _serve(self, session: _Session) -> None:
        context = session.context
        while isinstance(data := await context.read(), bytes):
            if len(data) > MOST_BYTES:
                raise Refused(
                    Code.INVALID_ARGUMENT,
                    f"a message has {len(data)} bytes; at most {MOST_BYTES} are allowed",
                )
            await self._take_turn(session)
            message = pb.KeepRegisteredRequest.FromString(data)
            # A megabyte may name a million leases, each in a byte.
            named = len(message.hold) + len(message.renew) + len(message.release)
            if named > self._bounds.named:
                raise Refused(
                    Code.INVALID_ARGUMENT,
                    f"a message names {named} leases; at most {self._bounds.named} are allowed",
                )
            answer = await self._renew(session, message)
            if answer is not None:
                await context.write(answer.SerializeToString())

    async def _take_turn(self, session: _Session) -> None:
        now, bounds = self._clock(), self._bounds
        session.tokens = min(bounds.burst, session.tokens + (now - session.heard) * bounds.rate) - 1.0
        session.heard = now
        if session.tokens < 0:
            await asyncio.sleep(-session.tokens / bounds.rate)

    async def _renew(
        self, session: _Session, message: pb.KeepRegisteredRequest
    ) -> pb.KeepRegisteredResponse | None:
        answer = pb.KeepRegisteredResponse(number=message.number)
        for lease in message.release:
            session.held.pop(lease, None)
        leases = [one.lease_id for one in message.hold if self._hold(session, one, answer)]
        leases += [lease for lease in message.renew if self._holds(session, lease, answer)]
        leases = list(dict.fromkeys(leases))
        failed: dict[int, StoreError] = {}
        for first in range(0, len(leases), AT_ONCE):
            failed.update(await self._keep(session, leases[first : first + AT_ONCE], answer))
        if failed:
            _tell_failures(failed, len(failed) == len(leases), answer)
        return answer if message.number or answer.states or answer.problem else None

    def _hold(self, session: _Session, one: pb.Holding, answer: pb.KeepRegisteredResponse) -> bool:
        try:
            self._credentials.check_service(session.caller, one.service_name)
            if one.lease_id not in session.held and len(session.held) >= self._bounds.held:
                raise Refused(Code.RESOURCE_EXHAUSTED, f"a stream holds at most {self._bounds.held} leases")
        except Refused as error:
            answer.states.add(lease_id=one.lease_id, refused=error.detail)
            return False
        session.held[one.lease_id] = f"{one.service_name}/{one.instance_id}", None
        return True

    @staticmethod
    def _holds(session: _Session, lease: int, answer: pb.KeepRegisteredResponse) -> bool:
        if lease in session.held:
            return True
        answer.states.add(
            lease_id=lease, refused="this stream does not hold the lease: send hold with its instance first"
        )
        return False

    async def _keep(
        self, session: _Session, leases: list[int], answer: pb.KeepRegisteredResponse
    ) -> dict[int, StoreError]:
        """Renew some leases, and add the changed states to the answer. Returns the leases for which the store
        failed."""
        held = session.held
        failed: dict[int, StoreError] = {}
        outcomes = await self._commands.keep_all({lease: held[lease][0] for lease in leases})
        for lease, outcome in outcomes.items():
            if isinstance(outcome, LeaseGone):
                state = _ENDED
            elif isinstance(outcome, StoreError):
                failed[lease] = outcome
                continue
            else:
                # In whole seconds, as leases have them: the state of a lease that was renewed a moment ago has not
                # changed.
                state = float(-(-outcome.ttl // 1)), False, outcome.removed, outcome.draining
            name, told = held[lease]
            if told != state:
                held[lease] = name, state
                ttl, ended, removed, draining = state
                answer.states.add(lease_id=lease, ttl=ttl, ended=ended, removed=removed, draining=draining)
                if ended:
                    del held[lease]
        return failed

    async def look_after(self) -> None:
        """End streams whose credential is withdrawn and those that have fallen silent, until cancelled."""
        while True:
            await asyncio.sleep(self._recheck)
            verdicts: dict[object, Caller | Refused | None] = {}
            sessions, silent_since = list(self._sessions), self._clock() - self._bounds.silence
            for number, session in enumerate(sessions):
                if session.credential not in verdicts:
                    verdicts[session.credential] = await self._verdict(session)
                verdict = verdicts[session.credential]
                if isinstance(verdict, Refused):
                    session.end(Refused(verdict.code, verdict.detail))
                elif verdict is not None and not verdict.same(session.caller):
                    # Its leases were checked for another caller: a new stream names them again.
                    session.end(Refused(Code.ABORTED, "the credential now belongs to another caller"))
                elif self._credentials.withdrawn(session.caller, session.services()):
                    # The new stream gets a refusal for each lease of such a service.
                    session.end(Refused(Code.ABORTED, "a permission of the caller was withdrawn"))
                elif session.heard < silent_since:
                    session.end(Refused(Code.ABORTED, f"no message for {self._bounds.silence:g} seconds"))
                if number % SLICE == 0:
                    await asyncio.sleep(0)

    async def _verdict(self, session: _Session) -> Caller | Refused | None:
        """The caller's current identity; None if it is not known, and is checked again the next time."""
        with contextlib.suppress(StoreError):
            try:
                return await self._credentials.require(Right.REGISTER, session.context)
            except Refused as error:
                return error if error.code is not Code.UNAVAILABLE else None
        return None


def _tell_failures(failed: dict[int, StoreError], alike: bool, answer: pb.KeepRegisteredResponse) -> None:
    """Report the leases for which the store failed; `alike`: it failed for all that were asked for."""
    troubles = {type(error): error for error in failed.values()}
    words = {kind: store_trouble(error) for kind, error in troubles.items()}
    if alike:
        answer.problem = next(iter(words.values()))
    else:
        for lease, error in failed.items():
            answer.states.add(lease_id=lease, problem=words[type(error)])


def _stopping() -> Refused:
    return Refused(Code.UNAVAILABLE, "the control plane is stopping")
