"""Simulated data planes: each a connection and a config stream of its own, which acks whatever comes at once.

A process of its own (`python -m tests.benchmarks.config.streams <options as JSON>`), so that its work is not the
control plane's. It says "ready" once every stream has its first message; for every line on stdin, a revision, it waits
until every stream has that or a later one, and prints what arrived since the last line, as JSON: {node: [[revision,
monotonic seconds], …]}. Monotonic time is that of the machine, so it may be compared with the driver's. Nobody polls
while messages arrive: data planes have no such work.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc.aio
import uvloop

from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import status_pb2
from headgate_api.v1.status_pb2 import CircuitReport as Circuit
from headgate_api.v1.status_pb2 import HealthReport as Health
from headgate_api.v1.status_pb2 import InstanceHealth as Instance
from headgate_api.v1.status_pb2 import StatsReport as Stats

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20))
_STREAM = "/headgate.v1.ConfigService/Stream"
_SMALL = 1 << 16
WITHIN = 10.0
"""Seconds within which a revision arrives, or does not."""
INSTANCES = 10
"""Of each service that is reported on."""
_EOF: Any = grpc.aio.__dict__["EOF"]


class Reports:
    """What a data plane in peace reports of so many services with ten instances each, all healthy and all used."""

    def __init__(self, services: int) -> None:
        names = [f"quiet-{number}" for number in range(services)]
        healthy = status_pb2.INSTANCE_STATUS_HEALTHY
        self._circuits = [Circuit(service_name=name, total_requests=1000) for name in names]
        self._health = [
            Instance(service_name=name, instance_id=f"i{number}", status=healthy, last_check=1.0)
            for name in names
            for number in range(INSTANCES)
        ]
        self.whole = [
            pb.StreamRequest(health=Health(instances=self._health)).SerializeToString(),
            self._stats(self._circuits, changes=False),
        ]

    def _stats(self, circuits: Sequence[Circuit], *, changes: bool) -> bytes:
        stats = Stats(at=time.time(), total_requests=1_000_000, circuits=circuits, changes=changes)
        return pb.StreamRequest(stats=stats).SerializeToString()

    def probed(self, seconds: float) -> bytes:
        """So many instances as are probed in this time, each every 30 seconds."""
        probed = random.sample(self._health, min(len(self._health), int(len(self._health) * seconds / 30.0)))
        for one in probed:
            one.last_check = time.time()
        return pb.StreamRequest(health=Health(instances=probed, changes=True)).SerializeToString()

    def nothing(self) -> bytes:
        """A sign of life."""
        return self._stats((), changes=True)


class Stream:
    """One data plane. It keeps nothing of what it gets but revision and digest."""

    def __init__(self, name: str, reports: Reports | None) -> None:
        self.name = name
        self._reports = reports
        self._asked: pb.Reporting | None = None
        self._telling: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self.held = (0, "")
        self.first = asyncio.Event()
        self._moved = asyncio.Event()
        self.arrived: list[tuple[int, float]] = []

    async def run(self, address: str, token: str) -> None:
        """Serve until cancelled."""
        metadata = (("authorization", f"Bearer {token}"),)
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as opened:
            # Messages stay bytes, which the types do not know.
            channel: Any = opened
            call = channel.stream_stream(_STREAM)(metadata=metadata)
            hello = pb.Hello(node=self.name, version="0.1.0", takes_deltas=True)
            if self._reports is not None:
                hello.capabilities.append("reports.changes")
            await call.write(pb.StreamRequest(hello=hello).SerializeToString())
            for report in self._reports.whole if self._reports is not None else ():
                await self._write(call, report)
            while (message := await call.read()) is not _EOF:
                await self._take(message, call)
        raise ConnectionError(f"{self.name}: the stream ended: {await call.details()}")

    async def reached(self, revision: int) -> None:
        """Return when this revision or a later one has arrived."""
        while self.held[0] < revision:
            self._moved.clear()
            await self._moved.wait()

    async def _take(self, message: bytes, call: Any) -> None:
        now = time.monotonic()
        # A snapshot's head comes first: there is no need to decode thousands of routes a thousand times.
        response = pb.StreamResponse.FromString(message if len(message) <= _SMALL else _cut(message))
        if self._is_asked(response, call):
            return
        revision, base, self.held = *_read(response), self.held
        if base is not None and base != self.held:
            raise ValueError(f"{self.name}: a delta for {base}, and {self.held} is held")
        self.held = revision
        self._moved.set()
        self.arrived.append((revision[0], now))
        await self._write(call, pb.StreamRequest(ack=pb.Ack(revision=revision[0])).SerializeToString())
        self.first.set()

    async def _write(self, call: Any, message: bytes) -> None:
        async with self._writing:
            await call.write(message)

    def _is_asked(self, response: pb.StreamResponse, call: Any) -> bool:
        """Whether the control plane says how to report; then it is done so from now on."""
        if not response.HasField("reporting") or self._reports is None:
            return False
        self._asked = response.reporting
        self._telling = self._telling or asyncio.create_task(self._tell(call, self._reports, self._asked))
        return True

    async def _tell(self, call: Any, reports: Reports, asked: pb.Reporting) -> None:
        await asyncio.sleep(asked.pace * random.random())  # guards nothing
        while True:
            asked = self._asked or asked
            if asked.checks:
                await self._write(call, reports.probed(asked.pace))
            await self._write(call, reports.nothing())
            await asyncio.sleep(asked.pace)


def _read(response: pb.StreamResponse) -> tuple[tuple[int, str], tuple[int, str] | None]:
    """Revision and digest of a message, and of its base if it is a delta."""
    if response.HasField("delta"):
        delta = response.delta
        return (delta.revision, delta.digest), (delta.base_revision, delta.base_digest)
    return (response.snapshot.revision, response.snapshot.digest), None


def _cut(message: bytes) -> bytes:
    """The same kind of message with revision and digest only."""
    at = 1
    while message[at] & 0x80:
        at += 1
    head = message[at + 1 : at + 200]
    end = head.index(b"\x12\x40") + 2 + 64
    return message[:1] + bytes([end]) + head[:end]


async def _main(options: dict[str, Any]) -> None:
    reports = Reports(options["services"]) if options.get("services") else None
    streams = [Stream(f"node-{options['first'] + number:04}", reports) for number in range(options["count"])]
    addresses = options["addresses"]
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        for number, stream in enumerate(streams):
            tasks.create_task(stream.run(addresses[number % len(addresses)], options["token"]))
            if number % 20 == 19:
                await stream.first.wait()
        for stream in streams:
            await stream.first.wait()
        _say("ready")
        while line := await reader.readline():
            with suppress(TimeoutError):
                async with asyncio.timeout(WITHIN):
                    for stream in streams:
                        await stream.reached(int(line))
            _say(json.dumps({stream.name: _taken(stream) for stream in streams}))
        raise SystemExit


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _taken(stream: Stream) -> list[tuple[int, float]]:
    arrived, stream.arrived = stream.arrived, []
    return arrived


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(json.loads(sys.argv[1])))
