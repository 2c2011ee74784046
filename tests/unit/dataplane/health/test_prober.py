"""The prober over a table that changes: who is probed, when, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.config.reports import InstanceStatus
from dataplane.gateway.policy.resources import HealthCheck, Instance, Service
from dataplane.health.prober import MAX_SLOTS, Prober
from dataplane.health.state import Probe
from tests.support.waiting import eventually

ORDERS = Service("orders", health_check=HealthCheck(healthy_threshold=2, unhealthy_threshold=1))
ONE, TWO = Instance("orders", "o-1", "127.0.0.1", 1), Instance("orders", "o-2", "127.0.0.1", 2)


class World:
    """Instances that answer as they are told, and time that passes only when a test lets it."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.asked: list[str] = []
        self.notified = 0
        self.at_once = self.most_at_once = 0
        self.hold: asyncio.Event | None = None
        self.now = 0.0
        self._event = asyncio.Event()
        self.prober = Prober(self.check, self.notify, lambda: self.now, self.wait, lambda: 0.5)

    async def check(self, instance: Instance, _: HealthCheck) -> Probe:
        self.asked.append(instance.id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.at_once -= 1
        passed = instance.id not in self.failing
        return Probe(passed, float(len(self.asked)), "" if passed else "refused")

    def notify(self) -> None:
        self.notified += 1

    async def wait(self, event: asyncio.Event, _: float | None) -> None:
        self._event = event
        await event.wait()

    def adopt(self, *instances: Instance, service: Service = ORDERS) -> None:
        self.prober.adopt({service.name: service}, {service.name: instances})

    async def settle(self) -> None:
        """Let every task run until all of them wait."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def pass_interval(self) -> None:
        """Everybody's wait is over."""
        self.now += 100
        self._event.set()
        await self.settle()

    def statuses(self) -> dict[str, str]:
        return {health.id: health.status.value for health in self.prober.view()}


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    task = asyncio.create_task(world.prober.run())
    await world.settle()
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_new_instance_takes_no_traffic_until_its_first_probe_passed() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        assert world.prober.unavailable() == ["orders/o-1"]
        assert not world.prober.first_round_done
        await world.settle()
        assert (world.prober.unavailable(), world.notified) == ([], 1)
        assert world.prober.first_round_done


async def test_instances_that_were_there_before_the_start_are_probed() -> None:
    world = World()
    world.adopt(ONE, TWO)
    async with running(world):
        assert world.statuses() == {"o-1": "healthy", "o-2": "healthy"}


async def test_the_router_is_told_of_changes_only() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        for _ in range(5):
            await world.pass_interval()
        assert world.notified == 1
        world.failing.add("o-1")
        await world.pass_interval()
        assert (world.statuses(), world.notified) == ({"o-1": "unhealthy"}, 2)
        world.failing.clear()
        await world.pass_interval()
        assert world.statuses() == {"o-1": "unhealthy"}
        await world.pass_interval()
        assert (world.statuses(), world.notified) == ({"o-1": "healthy"}, 3)


async def test_a_new_table_keeps_the_health_of_those_that_stay() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        await world.settle()
        world.adopt(ONE, TWO)
        assert world.prober.unavailable() == ["orders/o-2"]
        await world.settle()
        assert world.asked == ["o-1", "o-2"]


async def test_one_that_moved_is_starting_again() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        await world.settle()
        world.adopt(Instance("orders", "o-1", "127.0.0.1", 99))
        assert world.prober.unavailable() == ["orders/o-1"]
        await world.settle()
        assert world.prober.unavailable() == []


async def test_another_weight_changes_nothing() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        await world.settle()
        world.adopt(Instance("orders", "o-1", "127.0.0.1", 1, weight=5))
        await world.settle()
        assert (world.asked, world.prober.unavailable()) == (["o-1"], [])


async def test_another_check_takes_over_the_health_and_asks_at_once() -> None:
    async with running(World()) as world:
        world.adopt(ONE)
        await world.settle()
        world.adopt(ONE, service=Service("orders", health_check=HealthCheck(path="/new")))
        assert world.prober.unavailable() == []
        await world.settle()
        assert world.asked == ["o-1", "o-1"]


async def test_those_that_are_gone_are_not_probed() -> None:
    async with running(World()) as world:
        world.adopt(ONE, TWO)
        await world.settle()
        world.adopt(TWO)
        await world.pass_interval()
        assert world.asked == ["o-1", "o-2", "o-2"]
        assert world.statuses() == {"o-2": "healthy"}


async def test_one_that_drains_takes_no_traffic_and_no_probes_but_keeps_its_health() -> None:
    draining = Instance("orders", "o-1", "127.0.0.1", 1, draining=True)
    async with running(World()) as world:
        world.adopt(ONE)
        await world.settle()
        world.adopt(draining)
        await world.pass_interval()
        assert (world.statuses(), world.asked) == ({"o-1": "draining"}, ["o-1"])
        assert world.prober.unavailable() == ["orders/o-1"]
        world.adopt(ONE)
        assert world.statuses() == {"o-1": "healthy"}


async def test_probes_in_flight_are_bounded() -> None:
    crowd = [Instance("orders", f"o-{number}", "127.0.0.1", 1) for number in range(2 * MAX_SLOTS)]
    async with running(World()) as world:
        world.hold = asyncio.Event()
        world.adopt(*crowd)
        await eventually(lambda: world.at_once == MAX_SLOTS // 2)  # the share of one service
        world.hold.set()
        await eventually(lambda: len(world.asked) == len(crowd))
        assert world.most_at_once == MAX_SLOTS // 2


async def test_a_probe_that_is_cancelled_gives_its_slot_back() -> None:
    async with running(World()) as world:
        world.hold = asyncio.Event()
        for _ in range(3):
            world.adopt(*(Instance("orders", f"o-{number}", "127.0.0.1", 1) for number in range(300)))
            await eventually(lambda: world.at_once == MAX_SLOTS // 2)
            world.adopt()
            await eventually(lambda: world.at_once == 0)


async def test_a_service_that_goes_and_its_instances_are_forgotten() -> None:
    async with running(World()) as world:
        world.failing.add("o-1")
        world.adopt(ONE)
        await world.settle()
        world.prober.adopt({}, {})
        assert (world.prober.unavailable(), world.statuses()) == ([], {})
        world.adopt(ONE)
        assert world.statuses() == {"o-1": "starting"}


async def test_the_last_check_is_told() -> None:
    async with running(World()) as world:
        world.failing.add("o-1")
        world.adopt(ONE)
        (before,) = world.prober.view()
        assert (before.status, before.last_check) == (InstanceStatus.STARTING, 0.0)
        await world.settle()
        (now,) = world.prober.view()
        assert (now.status, now.last_check, now.reason) == (InstanceStatus.UNHEALTHY, 1.0, "refused")
