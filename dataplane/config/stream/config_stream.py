"""Keeps one config stream open: to any control plane, again after every loss, and soon.

What arrives is handed over latest-wins; what goes out is answers in order, and of health and statistics the newest.
An answer belongs to the connection its snapshot came on: after a reconnect the hello says what is in use.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
from dataplane.config.table import Problem, TableError
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1.config_pb2_grpc import ConfigServiceStub

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[pb.StreamRequest, pb.StreamResponse]

STAY = 300.0
"""Seconds, about: long enough for a control plane to be restarted a few times, short enough for the next one's turn."""

_log = logging.getLogger(__name__)


class ConfigStream:
    """The data plane's end of the config stream. `run` keeps it open; everything else may be called at any time."""

    def __init__(
        self,
        control_planes: Callable[[], ControlPlanes],
        state: Callable[[], NodeState],
        *,
        stay: float = STAY,
    ) -> None:
        """After about `stay` seconds at another control plane the preferred one is tried again."""
        self._stay = stay
        self._opened = False
        self._control_planes = control_planes
        self._state = state
        self._backoff = Backoff()
        self._answers: list[pb.StreamRequest] = []
        self._unanswered: dict[int, pb.Refused] = {}
        """What was received and not answered yet, by revision, in the form in which it would be refused."""
        self._refused: pb.Refused | None = None
        """What the control planes need not send again: it was found to be of no use, and nothing later was served."""
        self._leaving: pb.StreamRequest | None = None
        self._health: tuple[Sequence[InstanceHealth], int] | None = None
        self._stats: StatsReport | None = None
        self._reporter = Reporter()
        self._parts = bytearray()
        """Of a message that is not complete yet."""
        self._outgoing = asyncio.Event()
        self._received: pb.Snapshot | pb.Delta | None = None
        self._arrived = asyncio.Event()
        self.mismatches = 0
        """How many deltas did not fit what is served."""
        self._complaints: dict[str, str] = {}
        self.connected_to = ""
        """Address of the control plane, empty while there is none."""
        self.failure = "not connected yet"
        """Why the last attempt failed; empty while connected."""

    async def run(self) -> None:
        """Connect, serve the stream, and do so again after every loss, until cancelled."""
        addresses = preferred(self._control_planes().addresses, self._state().node)
        home = addresses[0]
        while True:
            address = addresses.pop(0)
            if await self._attempt(address, home):
                addresses = preferred(self._control_planes().addresses, self._state().node)
            elif self._opened:
                addresses = after_loss(address, self._control_planes().addresses, self._state().node)
            else:
                addresses.append(address)
            await asyncio.sleep(self._backoff.next())

    async def next_bundle(self, served: Bundle) -> Bundle:
        """The newest configuration that has not been handed over yet, given what every worker serves.

        One that is not whole is nacked here, and so is a delta that does not fit: a snapshot will follow.
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
        """Whether the control plane said how to report."""
        return self._reporter.configured

    def ack(self, revision: int) -> None:
        """Say that every worker serves `revision`."""
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

    def report_health(self, instances: Sequence[InstanceHealth], revision: int = 0) -> None:
        """The whole view of the instances, of which is reported what the control plane wants to know.

        An older one that was not reported yet is forgotten.
        """
        self._health = instances, revision
        self._outgoing.set()

    def report_leaving(self, requests: Mapping[str, int]) -> None:
        """Report the requests that drains wait for. It goes out before the answers that are waiting."""
        self._leaving = wire.leaving_report(requests)
        self._outgoing.set()

    def report_stats(self, stats: StatsReport) -> None:
        """The traffic, of which is reported what the control plane wants to know, when it wants to.

        An older report that was not sent yet is forgotten.
        """
        self._stats = stats
        self._outgoing.set()

    def _answer(self, revision: int, message: pb.StreamRequest) -> None:
        """Queue an answer, unless the connection that asked for it is gone."""
        if self._unanswered.pop(revision, None) is not None:
            self._answers.append(message)
            self._outgoing.set()

    async def _attempt(self, address: str, home: str) -> bool:
        """One connection, from start to loss. True when it was given up to go back to `home`."""
        self._opened = False
        try:
            control_planes = self._control_planes()
            async with connected(control_planes, address) as channel:
                if await self._serve(control_planes, address, channel, home):
                    _log.info("moving from control plane %s back to %s", address, home)
                    self.connected_to, self.failure = "", f"moving back to {home}"
                    return True
            self._lost(address, "the control plane ended the stream")
        except grpc.aio.AioRpcError as error:
            self._lost(address, _reason(error))
        except OSError as error:
            self._lost(address, str(error))
        return False

    async def _wait_for_home(self, home: str) -> None:
        """Return when the control plane that this node prefers can be reached again, after a while elsewhere."""
        while True:
            await asyncio.sleep(self._stay * random.uniform(0.75, 1.25))  # noqa: S311  # guards nothing
            with suppress(OSError):
                async with connected(self._control_planes(), home):
                    return

    def _lost(self, address: str, reason: str) -> None:
        if self.connected_to or self._complaints.get(address) != reason:
            text = "no config stream to control plane %s: %s; serving revision=%d meanwhile"
            _log.warning(text, address, reason, self._state().revision)
        self._complaints[address] = reason
        self.connected_to, self.failure = "", f"{address}: {reason}"

    async def _serve(
        self, control_planes: ControlPlanes, address: str, channel: grpc.aio.Channel, home: str
    ) -> bool:
        """Until the stream ends; or until `home` is there again, which is True."""
        call = ConfigServiceStub(channel).Stream(None, metadata=control_planes.metadata)
        self._answers.clear()
        self._unanswered.clear()
        # The hello says it all; what was said on the connection before, by either side, is old.
        self._leaving = None
        self._received = None
        self._reporter = Reporter()
        self._parts.clear()
        # A refusal may be faster than the hello; reading then tells which it was.
        with suppress(grpc.aio.AioRpcError):
            await call.write(wire.hello(self._state(), self._refused))
        writer = asyncio.create_task(self._write(call), name="config-stream-writer")
        reader = asyncio.create_task(self._read(address, call), name="config-stream-reader")
        ends = {reader}
        if address != home:
            ends.add(asyncio.create_task(self._wait_for_home(home), name="config-stream-home"))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
            return not reader.done()
        finally:
            for task in (writer, *ends):
                task.cancel()
            call.cancel()
            await asyncio.gather(writer, *ends, return_exceptions=True)

    async def _read(self, address: str, call: Call) -> None:
        async for response in call:
            if not self.connected_to:
                _log.info("config stream open to control plane %s", address)
            self.connected_to, self.failure, self._opened = address, "", True
            self._complaints.clear()
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
            case _:
                return  # a newer control plane's; it means nothing to us
        self._unanswered[self._received.revision] = wire.refusal_of(self._received)
        self._arrived.set()

    async def _write(self, call: Call) -> None:
        """Send whatever is waiting. A failed write ends this task; the reader learns the reason."""
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            for message in self._take_outgoing():
                await call.write(message)

    def _take_outgoing(self) -> list[pb.StreamRequest]:
        # What an applied revision makes of instances that leave must be known before the revision counts as applied.
        messages = [*filter(None, (self._leaving,)), *self._answers]
        if self._health is not None:
            messages += filter(None, [self._reporter.health_report(*self._health)])
        if self._stats is not None:
            messages += filter(None, [self._reporter.stats_report(self._stats, time.monotonic())])
        self._answers.clear()
        self._leaving = self._health = self._stats = None
        return messages


def _reason(error: grpc.aio.AioRpcError) -> str:
    if error.details() == "Internal error from Core":
        # What gRPC makes of a write to a stream that was refused at the same moment: its status is lost.
        return "it refused the stream, and the next attempt will tell why"
    reason = f"{error.code().name}: {error.details()}"
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        reason += " (it accepts neither DATAPLANE_TOKEN nor CONTROLPLANE_CERT of this data plane)"
    return reason
