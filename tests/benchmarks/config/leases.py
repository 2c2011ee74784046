"""Simulated services that keep instances alive: a registration and a lease each, over a few gRPC connections.

A process of its own (`python -m tests.benchmarks.config.leases <options as JSON>`), so that its work is not the control
plane's. It says "ready" once every instance is registered and renewed, and for every line on stdin how many keep-alives
were answered since the last one, and how many failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc.aio
import uvloop

from demo.processes import ROOT, ControlPlane
from headgate_api.v1 import registry_pb2 as pb

TTL = 15.0
EVERY = TTL / 3
"""As the SDK does."""
OF_A_SERVICE = 500
AT_ONCE = 16
"""Registrations."""
CHANNELS = 9
"""Connections: one for registrations, the others for keep-alives."""
MOST_CALLS = 200
"""Keep-alives under way; a server takes 100 calls over each connection."""
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_PATH = "/headgate.v1.RegistryService/"


class Services:
    """The instances of one control plane, all kept alive from here."""

    def __init__(self, address: str, token: str, count: int) -> None:
        channels = [grpc.aio.insecure_channel(address, _OPTIONS) for _ in range(CHANNELS)]
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._register = channels[0].unary_unary(
            f"{_PATH}Register", pb.RegisterRequest.SerializeToString, pb.RegisterResponse.FromString
        )
        self._keep = [
            channel.unary_unary(
                f"{_PATH}KeepAlive", pb.KeepAliveRequest.SerializeToString, pb.KeepAliveResponse.FromString
            )
            for channel in channels[1:]
        ]
        self._count = count
        self._kept: list[pb.KeepAliveRequest] = []
        self.answered = self.failed = 0

    async def register(self) -> None:
        """All of them, a few at a time; meanwhile those that are there are kept alive."""
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._register_one(number, turns) for number in range(self._count)))

    async def _register_one(self, number: int, turns: asyncio.Semaphore) -> None:
        service, instance = f"leased-{number // OF_A_SERVICE}", f"i{number}"
        request = pb.RegisterRequest(ttl=TTL)
        request.instance.service_name, request.instance.instance_id = service, instance
        request.instance.host, request.instance.port = (
            f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            80,
        )
        request.service.service_name = service
        async with turns:
            answer = await self._register(request, metadata=self._metadata, timeout=60)
        self._kept.append(
            pb.KeepAliveRequest(lease_id=answer.lease_id, service_name=service, instance_id=instance)
        )

    async def keep(self) -> None:
        """Renew in turn, so that each is renewed every few seconds and calls are spread evenly."""
        number, due = 0, time.monotonic()
        calls: set[asyncio.Task[None]] = set()
        while True:
            if due > time.monotonic() or not self._kept or len(calls) >= MOST_CALLS:
                await asyncio.sleep(0.005)
                continue
            due = max(due, time.monotonic() - 1.0)
            number = (number + 1) % len(self._kept)
            due += EVERY / len(self._kept)
            calls.add(task := asyncio.create_task(self._keep_one(self._kept[number])))
            task.add_done_callback(calls.discard)

    async def _keep_one(self, request: pb.KeepAliveRequest) -> None:
        try:
            keep = self._keep[request.lease_id % len(self._keep)]
            await keep(request, metadata=self._metadata, timeout=10)
            self.answered += 1
        except grpc.aio.AioRpcError as error:
            self.failed += 1
            sys.stderr.write(f"{error.code()}: {error.details()}\n")


async def work(address: str, token: str, count: int) -> None:
    """Register, keep alive, and tell."""
    services = Services(address, token, count)
    keeping = asyncio.create_task(services.keep())
    await services.register()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{services.answered} {services.failed}\n")
        sys.stdout.flush()
        services.answered = services.failed = 0
    keeping.cancel()


class Leases:
    """The process, as the driver sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kept(self) -> tuple[int, int]:
        """Keep-alives answered and failed since the last call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answered, failed = self._process.stdout.readline().split()
        return int(answered), int(failed)


@contextlib.contextmanager
def leases(controlplane: ControlPlane, count: int) -> Iterator[Leases]:
    """So many instances under lease."""
    options = [controlplane.grpc, controlplane.secrets.service_token, count]
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
