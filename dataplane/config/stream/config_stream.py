"""Keeps one config stream open to any control plane, and reconnects after every loss.

Of the configurations received, the latest wins. Answers are sent in order; of health and statistics, only the newest
report is sent. An answer belongs to the connection that its configuration came on: after a reconnect, the hello names
the configuration in use.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from dataplane.config.decode import Bundle, Mismatch, applied, unpack
from dataplane.config.reports import InstanceHealth, NodeState, StatsReport
from dataplane.config.stream import wire
from dataplane.config.stream.backoff import Backoff
from dataplane.config.stream.connect import ControlPlanes, connected
from dataplane.config.stream.order import after_loss, preferred
from dataplane.config.stream.reporter import Reporter
from dataplane.config.stream.resolve import Resolve, resolved, server_name
from dataplane.config.table import Problem, TableError
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import limits_pb2, questions_pb2
from headgate_api.v1.config_pb2_grpc import ConfigServiceStub

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[pb.StreamRequest, pb.StreamResponse]

STAY = 300.0
"""Seconds, ±25 %: long enough for several restarts of a control plane, short enough to rebalance the fleet in
minutes."""

MOST_ASKS = 100
"""Questions about limits that wait for a control plane which does not read."""

MOST_REPLIES = 200
"""Answers to operators that wait for a control plane which does not read."""

_UNTOLD = "the control plane refused the stream; the next attempt reports the reason"
"""gRPC sometimes loses the reason: the last known one stays until another attempt states one."""

_log = logging.getLogger(__name__)


class ConfigStream:
    """The data plane's end of the config stream. `run` keeps it open; everything else may be called at any time."""

    def __init__(
        self,
        control_planes: Callable[[], ControlPlanes],
        state: Callable[[], NodeState],
        *,
        stay: float = STAY,
        resolve: Resolve = resolved,
    ) -> None:
        """`stay`: seconds at another control plane before the preferred one is tried again; `resolve` finds the
        addresses behind names."""
        self._stay = stay
        self._resolve = resolve
        self._names: dict[str, str] = {}
        """The addresses of the control planes, each with the name in the settings that it was found by."""
        self._opened = False
        self._control_planes = control_planes
        self._state = state
        self._backoff = Backoff()
        self._answers: list[pb.StreamRequest] = []
        self._unanswered: dict[int, pb.Refused] = {}
        """Configurations received and not answered yet, by revision, as a hello would name them once rejected."""
        self._refused: pb.Refused | None = None
        """The latest rejected configuration, which need not be sent again; None once a later one is served."""
        self._leaving: pb.StreamRequest | None = None
        self._health: tuple[Sequence[InstanceHealth], int] | None = None
        self._stats: StatsReport | None = None
        self._reporter = Reporter()
        self._parts = bytearray()
        """Received parts of an incomplete message."""
        self._asks: list[pb.StreamRequest] = []
        """Questions about limits."""
        self.on_limits: Callable[[limits_pb2.LimitAnswers], None] = lambda answers: None
        """Called with the answers to them."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called when a stream has ended: its open questions will not be answered."""
        self._replies: list[pb.StreamRequest] = []
        """Answers to operators."""
        self.on_question: Callable[[bytes], None] = lambda question: None
        """Called with the questions of operators."""
        self._again = asyncio.Event()
        """Set when the present connection is to be replaced."""
        self._outgoing = asyncio.Event()
        self._sent = asyncio.Event()
        """Set while there is nothing to send."""
        self._received: pb.Snapshot | pb.Delta | None = None
        self._arrived = asyncio.Event()
        self.mismatches = 0
        """Deltas whose base or resulting digest did not match."""
        self._logged_failures: dict[str, str] = {}
        """The last failure logged, by address: a repeated one is not logged again."""
        self.connected_to = ""
        """Address of the control plane, empty while there is none."""
        self.failure = "not connected yet"
        """The reason the last attempt failed; empty while connected."""

    async def run(self) -> None:
        """Keep the stream open, reconnecting after every loss, until cancelled."""
        addresses = await self._find()
        while True:
            address = addresses.pop(0)
            if await self._attempt(address):
                addresses = await self._find()
            elif self._opened:
                addresses = after_loss(address, await self._find(), self._state().node)
            await asyncio.sleep(self._backoff.next())
            if not addresses:
                addresses = await self._find()

    async def _find(self) -> list[str]:
        """The addresses of the control planes now, the preferred one first."""
        self._names = await self._resolve(self._control_planes().addresses, self._names)
        return preferred(self._names, self._state().node)

    def _connected(self, address: str) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        name = server_name(address, self._names.get(address, address))
        return connected(self._control_planes(), address, name)

    async def next_bundle(self, served: Bundle) -> Bundle:
        """Wait for the newest configuration that was not returned before. `served`: the configuration that every worker
        serves.

        An invalid snapshot or delta is nacked here, and so is a mismatch, which a snapshot follows.
        """
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            message, self._received = self._received, None
            if message is None:
                continue
            try:
                return applied(served, message) if isinstance(message, pb.Delta) else unpack(message)
            except TableError as error:
                _log.error("revision=%d rejected: %s", message.revision, error)
                self.nack(message.revision, error.problems)
            except Mismatch as error:
                self.mismatches += 1
                _log.warning("revision=%d: the delta %s", message.revision, error)
                problem = Problem("", "delta", str(error))
                self._answer(message.revision, wire.nack(message.revision, [problem], mismatch=True))

    @property
    def reporting_configured(self) -> bool:
        """Whether the control plane has sent a Reporting message."""
        return self._reporter.configured

    @property
    def traffic_every(self) -> float:
        """Seconds between two reports on the traffic; 0: the control plane asks for none."""
        return self._reporter.traffic_every if self.connected_to else 0.0

    def ack(self, revision: int) -> None:
        """Acknowledge `revision`: every worker serves it."""
        refused, served = self._refused, self._unanswered.get(revision)
        if refused and served and wire.position(served) > wire.position(refused):
            self._refused = None
        self._answer(revision, pb.StreamRequest(ack=pb.Ack(revision=revision)))

    def nack(self, revision: int, problems: Iterable[Problem], *, permanent: bool = True) -> None:
        """Reject `revision` with these problems. Unless `permanent`, the next connection delivers it again."""
        message = wire.nack(revision, problems)
        refused = self._unanswered.get(revision)
        if (
            refused
            and permanent
            and not (self._refused and wire.position(refused) < wire.position(self._refused))
        ):
            refused.problems.extend(message.nack.problems)
            self._refused = refused
        self._answer(revision, message)

    def reconnect(self) -> None:
        """Open the stream anew: what was rejected, not for good, is then delivered again."""
        self._again.set()

    def report_health(self, instances: Sequence[InstanceHealth], revision: int = 0) -> None:
        """Queue a health report: every instance, as seen while `revision` is served.

        Sent in full or as changes, as the control plane asks. Replaces a report that was not sent yet.
        """
        self._health = instances, revision
        self._outgoing.set()

    def report_leaving(self, requests: Mapping[str, int]) -> None:
        """Queue a report of the requests in flight at leaving instances. It is sent before queued answers."""
        self._leaving = wire.leaving_report(requests)
        self._outgoing.set()

    def report_stats(self, stats: StatsReport) -> None:
        """Queue a report of statistics.

        Sent at the interval and in the detail that the control plane asks for. Replaces a report that was not sent yet.
        """
        self._stats = stats
        self._outgoing.set()

    def ask_limits(self, asks: limits_pb2.LimitAsks) -> bool:
        """Queue questions about limits; False without a connection that takes them: they are never sent later."""
        if not self.connected_to or len(self._asks) >= MOST_ASKS:
            return False
        self._asks.append(pb.StreamRequest(asks=asks))
        self._outgoing.set()
        return True

    def answer(self, answer: bytes) -> bool:
        """Queue an answer to an operator; False without a connection that takes it: it is never sent later."""
        if not self.connected_to or len(self._replies) >= MOST_REPLIES:
            return False
        self._replies.append(pb.StreamRequest(answer=questions_pb2.Answer.FromString(answer)))
        self._outgoing.set()
        return True

    async def flush(self, within: float = 0.5) -> None:
        """Wait until all queued messages have been sent, if there is a connection; some seconds at most."""
        if self.connected_to and self._outgoing.is_set():
            self._sent.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._sent.wait()

    def _answer(self, revision: int, message: pb.StreamRequest) -> None:
        """Queue an answer, unless the connection that the configuration came on is gone."""
        if self._unanswered.pop(revision, None) is not None:
            self._answers.append(message)
            self._outgoing.set()

    async def _attempt(self, address: str) -> bool:
        """Run one connection until it ends. True when it was closed to return to the preferred control plane."""
        self._opened = False
        try:
            async with self._connected(address) as channel:
                if home := await self._serve(address, channel):
                    _log.info("moving from control plane %s to %s", address, home)
                    self.connected_to, self.failure = "", f"moving to {home}"
                    return True
            self._lost(address, "the control plane ended the stream")
        except grpc.aio.AioRpcError as error:
            self._lost(address, _reason(error))
        except OSError as error:
            self._lost(address, str(error))
        return False

    async def _wait_for_home(self, address: str) -> str:
        """The preferred control plane, once it is another one and can be reached; tried about every `stay` seconds."""
        while True:
            await asyncio.sleep(self._stay * random.uniform(0.75, 1.25))  # noqa: S311  # guards nothing
            home = (await self._find())[0]
            if home != address:
                with suppress(OSError):
                    async with self._connected(home):
                        return home

    def _lost(self, address: str, reason: str) -> None:
        if reason == _UNTOLD:
            reason = self._logged_failures.get(address, reason)
        if self.connected_to or self._logged_failures.get(address) != reason:
            text = "no config stream to control plane %s: %s; still serving revision=%d"
            _log.warning(text, address, reason, self._state().revision)
        self._logged_failures[address] = reason
        self.connected_to, self.failure = "", f"{address}: {reason}"

    async def _serve(self, address: str, channel: grpc.aio.Channel) -> str:
        """Run the stream until it ends: empty; or until the preferred control plane can be reached: its address, or
        `reconnect` was called: this address."""
        call = ConfigServiceStub(channel).Stream(None, metadata=self._control_planes().metadata)
        self._answers.clear()
        self._unanswered.clear()
        # The hello carries the current state: drop what was queued for or received on the previous connection.
        self._leaving = None
        self._received = None
        self._again.clear()
        self._reporter = Reporter()
        self._parts.clear()
        self._asks.clear()
        self._replies.clear()
        # The call may be rejected before the hello is written; the reader then raises the status.
        with suppress(grpc.aio.AioRpcError):
            await call.write(wire.hello(self._state(), self._refused))
        writer = asyncio.create_task(self._write(call), name="config-stream-writer")
        reader = asyncio.create_task(self._read(address, call), name="config-stream-reader")
        home = asyncio.create_task(self._wait_for_home(address), name="config-stream-home")
        again = asyncio.create_task(self._again.wait(), name="config-stream-again")
        try:
            await asyncio.wait((reader, home, again), return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
                return ""
            return home.result() if home.done() else address
        finally:
            for task in (writer, reader, home, again):
                task.cancel()
            call.cancel()
            await asyncio.gather(writer, reader, home, again, return_exceptions=True)
            self.on_lost()

    async def _read(self, address: str, call: Call) -> None:
        async for response in call:
            if not self.connected_to:
                _log.info("config stream open to control plane %s", address)
            self.connected_to, self.failure, self._opened = address, "", True
            self._logged_failures.clear()
            self._backoff.reset()
            self._take(response)

    def _take(self, response: pb.StreamResponse) -> None:
        match response.WhichOneof("message"):
            case "snapshot":
                self._received = response.snapshot
            case "delta":
                self._received = response.delta
            case "part":
                self._parts += response.part.data
                if response.part.last:
                    whole, self._parts = bytes(self._parts), bytearray()
                    self._take(pb.StreamResponse.FromString(whole))
                return
            case "reporting":
                self._reporter.configure(response.reporting, time.monotonic())
                return
            case "answers":
                self.on_limits(response.answers)
                return
            case "question":
                self.on_question(response.question.SerializeToString())
                return
            case _:
                return  # unknown: from a newer control plane
        self._unanswered[self._received.revision] = wire.refusal_of(self._received)
        self._arrived.set()

    async def _write(self, call: Call) -> None:
        """Send queued messages. A failed write ends this task; the reader raises the reason."""
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            for message in self._take_outgoing():
                await call.write(message)
            if not self._outgoing.is_set():
                self._sent.set()

    def _take_outgoing(self) -> list[pb.StreamRequest]:
        # The ack of a revision that removes instances must follow the report of their requests in flight.
        messages = [*filter(None, (self._leaving,)), *self._answers, *self._asks, *self._replies]
        if self._health is not None:
            messages += filter(None, [self._reporter.health_report(*self._health)])
        if self._stats is not None:
            messages += filter(None, [self._reporter.stats_report(self._stats, time.monotonic())])
        self._answers.clear()
        self._asks.clear()
        self._replies.clear()
        self._leaving = self._health = self._stats = None
        return messages


def _reason(error: grpc.aio.AioRpcError) -> str:
    if error.details() == "Internal error from Core":
        # gRPC's error for a write to a call that is rejected at the same moment; the status is lost.
        return _UNTOLD
    reason = f"{error.code().name}: {error.details()}"
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        reason += (
            " (the control plane accepts neither DATAPLANE_TOKEN nor CONTROLPLANE_CERT of this data plane)"
        )
    return reason
