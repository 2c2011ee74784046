"""Simulated services that keep instances alive: a process each, with registration, lease, connection and stream.

A process of its own (`python -m tests.benchmarks.config.leases <options as JSON>`), so that its work is not the control
plane's. It says "ready" once every instance is registered and renewed, and for every line on stdin how many renewals
were answered since the last one, and how many streams have ended. The streams are written by hand (`raw_stream`):
thousands of gRPC channels would take the whole machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import grpc.aio
import uvloop

from demo.processes import ROOT, ControlPlane
from headgate_api.v1 import registry_pb2 as pb
from tests.benchmarks.config.raw_stream import RawStream

TTL = 15.0
EVERY = TTL / 3
"""As the SDK does."""
OF_A_SERVICE = 500
AT_ONCE = 16
"""Registrations."""
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_PATH = "/headgate.v1.RegistryService/"


class Services:
    """The instances of one control plane, all kept alive from here."""

    def __init__(self, address: str, token: str, count: int, together: int) -> None:
        """`together`: instances of one process."""
        channel = grpc.aio.insecure_channel(address, _OPTIONS)
        self._address, self._token = address, token
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._register = channel.unary_unary(
            f"{_PATH}Register", pb.RegisterRequest.SerializeToString, pb.RegisterResponse.FromString
        )
        self._count, self._together = count, together
        self._kept: list[tuple[RawStream, bytes]] = []
        """Streams, with the message that renews what each holds."""

    @property
    def answered(self) -> int:
        """Messages that were answered."""
        return sum(stream.answers for stream, _ in self._kept)

    @property
    def ended(self) -> int:
        """Streams that have ended."""
        return sum(stream.ended for stream, _ in self._kept)

    async def register(self) -> None:
        """All of them, a few at a time; meanwhile those that are there are kept alive."""
        turns = asyncio.Semaphore(AT_ONCE)
        firsts = range(0, self._count, self._together)
        await asyncio.gather(*(self._begin(first, turns) for first in firsts))

    async def _begin(self, first: int, turns: asyncio.Semaphore) -> None:
        """One process: registers what it holds, and opens its stream."""
        async with turns:
            numbers = range(first, min(first + self._together, self._count))
            held = [await self._register_one(number) for number in numbers]
            host, _, port = self._address.rpartition(":")
            loop = asyncio.get_running_loop()
            _, stream = await loop.create_connection(
                lambda: RawStream(f"{_PATH}KeepRegistered", self._token), host, int(port)
            )
        stream.send(pb.KeepRegisteredRequest(number=1, hold=held).SerializeToString())
        renewal = pb.KeepRegisteredRequest(number=1, renew=[one.lease_id for one in held])
        self._kept.append((stream, renewal.SerializeToString()))

    async def _register_one(self, number: int) -> pb.Holding:
        service, instance = f"leased-{number // OF_A_SERVICE}", f"i{number}"
        request = pb.RegisterRequest(ttl=TTL)
        request.instance.service_name, request.instance.instance_id = service, instance
        request.instance.host, request.instance.port = (
            f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            80,
        )
        request.service.service_name = service
        answer = await self._registered(request)
        return pb.Holding(lease_id=answer.lease_id, service_name=service, instance_id=instance)

    async def _registered(self, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """As the SDK does: again while the store is slow."""
        while True:
            try:
                answer: pb.RegisterResponse = await self._register(
                    request, metadata=self._metadata, timeout=60
                )
                return answer
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(1.0)

    async def keep(self) -> None:
        """Renew in turn, so that each is renewed every few seconds and messages are spread evenly."""
        number, due = 0, time.monotonic()
        while True:
            if due > time.monotonic() or not self._kept:
                await asyncio.sleep(0.002)
                continue
            due = max(due, time.monotonic() - 1.0)
            number = (number + 1) % len(self._kept)
            due += EVERY / len(self._kept)
            stream, renewal = self._kept[number]
            stream.send(renewal)


async def work(address: str, token: str, count: int, together: int) -> None:
    """Register, keep alive, and tell."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    services = Services(address, token, count, together)
    keeping = asyncio.create_task(services.keep())
    await services.register()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    told = 0
    while await asyncio.to_thread(sys.stdin.readline):
        answered = services.answered
        sys.stdout.write(f"{(answered - told) * together} {services.ended}\n")
        sys.stdout.flush()
        told = answered
    keeping.cancel()


class Leases:
    """The process, as the driver sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kept(self) -> tuple[int, int]:
        """Renewals answered since the last call, and streams that have ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answered, failed = self._process.stdout.readline().split()
        return int(answered), int(failed)


@contextlib.contextmanager
def leases(controlplane: ControlPlane, count: int, together: int = 1) -> Iterator[Leases]:
    """So many instances under lease, `together` of them in one process."""
    options = [controlplane.grpc, controlplane.secrets.service_token, count, together]
    argv = [sys.executable, "-m", "tests.benchmarks.config.leases", json.dumps(options)]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the simulated services ended")
        yield Leases(process)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    uvloop.run(work(*json.loads(sys.argv[1])))
