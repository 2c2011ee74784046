"""What goes on around the load of a soak run: instances that come, go and die, and a configuration that changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import headgate
from demo.ports import free_port
from demo.processes import Process, answers, start, wait_until
from headgate import ServiceDefinition
from tests.benchmarks.contenders import BODY, find, write_configuration
from tests.benchmarks.machine import OTHER_CPUS, pin
from tests.benchmarks.stack import Stack, route

SERVICE = "churned"
DEFINITION = ServiceDefinition(SERVICE, check_path="/", check_interval=1, check_timeout=1)
INSTANCES = 4
STAY = 4.0
"""Seconds that an instance is registered before it leaves for a while, all of them in turn."""
AWAY = 1.0
KILL_EVERY = 20.0
DEAD = 3.0
"""Seconds that a killed instance stays down, still registered."""
CHANGE_EVERY = 1.0


@dataclass
class Happened:
    """What was done to the gateway while it was loaded."""

    changes: int = 0
    registrations: int = 0
    kills: list[float] = field(default_factory=list)
    """When an instance died, on the monotonic clock."""


class Instance:
    """An nginx on a port of its own, which can die and come back."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._folder.chmod(0o755)
        self._process: Process | None = None

    def start(self) -> None:
        """Returns when it answers."""
        path = write_configuration("upstream.conf", self._folder, {"UPSTREAM": self.port, "BODY": BODY})
        argv = [find("nginx") or "nginx", "-p", str(self._folder), "-c", str(path)]
        self._process = start(self.name, argv, {}, self._folder)
        wait_until(answers(f"http://127.0.0.1:{self.port}/"), self._process)
        pin(self._process.pid, OTHER_CPUS)

    def kill(self) -> None:
        """At once, with every connection it has."""
        if self._process is not None:
            self._process.kill()


@asynccontextmanager
async def around(stack: Stack, folder: Path) -> AsyncIterator[Happened]:
    """Instances and their churn for as long as the block runs."""
    happened = Happened()
    instances = [Instance(folder, f"instance-{number}") for number in range(INSTANCES)]
    ended = asyncio.Event()
    try:
        for instance in instances:
            await asyncio.to_thread(instance.start)
        async with asyncio.TaskGroup() as group:
            ready = [asyncio.Event() for _ in instances]
            for number, instance in enumerate(instances):
                work = come_and_go(stack, instance, number, happened, ready[number], ended)
                group.create_task(work)
            for event in ready:
                await event.wait()
            add = {"routes": [route(SERVICE, f"/{SERVICE}", service_name=SERVICE)]}
            await asyncio.to_thread(stack.admin.post, "/api/v1/apply?wait=30", json=add)
            group.create_task(
                every(KILL_EVERY, ended, lambda turn: die(instances[turn % INSTANCES], happened))
            )
            group.create_task(every(CHANGE_EVERY, ended, lambda turn: change(stack, turn, happened)))
            yield happened
            ended.set()
    finally:
        for instance in instances:
            instance.kill()


async def come_and_go(
    stack: Stack,
    instance: Instance,
    number: int,
    happened: Happened,
    ready: asyncio.Event,
    ended: asyncio.Event,
) -> None:
    """Register through the SDK, leave in order after a while, and come back."""
    secrets = stack.controlplane.secrets
    while not ended.is_set():
        async with headgate.register(
            DEFINITION,
            host="127.0.0.1",
            port=instance.port,
            instance_id=instance.name,
            handle_sigterm=False,
            wait=20,
            controlplane=stack.controlplane.grpc,
            token=secrets.service_token,
        ):
            happened.registrations += 1
            ready.set()
            # Out of step, so that never all are away.
            await passed(STAY * (INSTANCES if happened.registrations > INSTANCES else number + 1), ended)
        await passed(AWAY, ended)


async def every(seconds: float, ended: asyncio.Event, work: Callable[[int], object]) -> None:
    """Do `work` again and again, in a thread, until it is over."""
    for turn in count():
        if await passed(seconds, ended):
            return
        await asyncio.to_thread(work, turn)


async def passed(seconds: float, ended: asyncio.Event) -> bool:
    """Wait so long, or until it is over; whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    return True


def die(instance: Instance, happened: Happened) -> None:
    """Kill an instance; it stays registered, and comes back later."""
    happened.kills.append(monotonic())
    instance.kill()
    sleep(DEAD)
    instance.start()


def change(stack: Stack, turn: int, happened: Happened) -> None:
    """One change of the configuration: another time-out, another route, another limit."""
    name = f"passing-{turn % 20}"
    match turn % 4:
        case 0:
            fields = route(SERVICE, f"/{SERVICE}", service_name=SERVICE, timeout=10 + turn % 20)
            document: dict[str, object] = {"routes": [fields]}
        case 1 | 2:
            document = {"routes": [route(name, f"/passing/{turn}")]}
        case _:
            limit = {"name": "passing", "per_second": 1000 + turn, "burst": 1000, "key": "subject"}
            document = {"rate_limits": [limit]}
    stack.admin.post("/api/v1/apply", json=document).raise_for_status()
    happened.changes += 1
