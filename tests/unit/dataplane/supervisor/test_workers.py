"""Workers that apply, refuse, die and hang, all as told: what becomes of a change, and of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.config.decode import NOTHING, Bundle, unpack
from dataplane.config.table import Problem
from dataplane.supervisor import workers as workers_module
from dataplane.supervisor.workers import Workers
from tests.support import wire
from tests.support.waiting import eventually, within

FIRST = unpack(wire.snapshot(wire.user("alice"), revision=1))
SECOND = unpack(wire.snapshot(wire.user("bob", revision=2), revision=2))


class Worker:
    """Answers a change as its world says, at the next turn of the loop."""

    def __init__(self, world: World, index: int) -> None:
        self.index, self.world = index, world
        self.name = f"{index}.{len(world.born)}"
        self.process = SimpleNamespace(pid=4711)
        self.holds = self.sent = NOTHING
        self.rejected: tuple[tuple[int, str], tuple[Problem, ...]] | None = None
        self.heard: list[object] = []
        self.leaving: dict[str, int] = {}
        self.serving = False
        self.log_opened = 1
        self._gone = asyncio.Event()
        self._answered: Callable[[], None] = lambda: None

    @property
    def settled(self) -> bool:
        return self.holds is self.sent

    def move_to(self, bundle: Bundle) -> None:
        self.heard.append(bundle.revision)
        self.sent, self.rejected = bundle, None
        behaviour = self.world.behaviour.get((self.index, bundle.revision), "apply")
        if behaviour == "die once":
            self.world.behaviour.clear()
        asyncio.get_running_loop().call_soon(self._react, behaviour, bundle)

    def set_unavailable(self, unavailable: list[str]) -> None:
        self.heard.append(list(unavailable))

    def reopen_log(self) -> None:
        self.log_opened += 1

    def serve(self) -> None:
        self.heard.append("serve")
        self.serving = True

    def drain(self) -> None:
        self.heard.append("drain")
        self._gone.set()

    def kill(self) -> None:
        self._gone.set()

    def tick(self) -> str:
        return "sent nothing for 5 s" if self.index in self.world.frozen else ""

    async def follow(
        self, answered: Callable[[], None], counted: Callable[[Any], None], *_: Callable[[], None]
    ) -> None:
        self._answered = answered
        counted({"from": self.index})
        await self._gone.wait()

    async def end(self, within: float) -> int:
        return 0

    def _react(self, behaviour: str, bundle: Bundle) -> None:
        match behaviour:
            case "apply":
                self.holds = bundle
            case "refuse":
                self.sent = self.holds
                self.rejected = (bundle.revision, bundle.digest), (Problem("", "", f"no, says {self.index}"),)
            case "die" | "die once":
                self._gone.set()
                return
            case "hang":
                return
        self._answered()


class World:
    """Every worker there was, and how they behave: (index, revision) → apply, refuse, die, hang."""

    def __init__(self, count: int = 2) -> None:
        self.behaviour: dict[tuple[int, int], str] = {}
        self.frozen: set[int] = set()
        self.born: list[Worker] = []
        self.ended: list[int] = []
        self.counted: list[int] = []
        self.workers = Workers(count, cast(Any, self.spawn), 5.0, cast(Any, self))

    async def spawn(self, index: int) -> Worker:
        worker = Worker(self, index)
        self.born.append(worker)
        return worker

    def take(self, worker: int, report: Any) -> None:
        assert report == {"from": worker}
        self.counted.append(worker)

    def end(self, worker: int) -> None:
        self.ended.append(worker)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Workers]:
    task = asyncio.create_task(world.workers.run())
    await eventually(lambda: world.workers.running == 2)
    try:
        yield world.workers
    finally:
        world.workers.drain()
        await within(task, 30)


@pytest.fixture(autouse=True)
def _quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "RESTART_FIRST", 0.001)


async def test_a_change_is_applied_when_every_worker_serves_it() -> None:
    world = World()
    async with running(world) as workers:
        assert workers.loaded == 0
        assert await workers.apply(FIRST) == ()
        assert (workers.serving(FIRST), workers.loaded) == (2, 2)
        assert await workers.apply(SECOND) == ()
        assert (workers.serving(FIRST), workers.serving(SECOND)) == (0, 2)
        assert world.counted == [0, 1]


async def test_one_refusal_takes_all_back() -> None:
    world = World()
    world.behaviour[1, 2] = "refuse"
    async with running(world) as workers:
        await workers.apply(FIRST)
        assert await workers.apply(SECOND) == (Problem("", "", "no, says 1"),)
        await eventually(lambda: workers.serving(FIRST) == 2)
        assert workers.desired is FIRST
        assert len(world.born) == 2


async def test_a_worker_that_died_under_a_change_gets_a_second_try() -> None:
    world = World()
    world.behaviour[0, 2] = "die once"
    async with running(world) as workers:
        await workers.apply(FIRST)
        assert await workers.apply(SECOND) == ()
        assert world.ended == [0]
        assert workers.serving(SECOND) == 2
        assert workers.restarts == 1


async def test_a_change_that_kills_workers_is_refused() -> None:
    world = World()
    world.behaviour[0, 2] = "die"
    async with running(world) as workers:
        await workers.apply(FIRST)
        (problem,) = await workers.apply(SECOND)
        assert problem.detail == "2 workers ended while they applied it"
        await eventually(lambda: workers.serving(FIRST) == 2)


async def test_a_worker_that_hangs_is_replaced_and_the_change_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers_module, "APPLY_TIMEOUT", 0.05)
    world = World()
    world.behaviour[0, 2] = "hang"
    async with running(world) as workers:
        await workers.apply(FIRST)
        (problem,) = await workers.apply(SECOND)
        assert problem.detail == "worker 0 did not apply it within 0.05 s"
        await eventually(lambda: workers.serving(FIRST) == 2)
        assert world.ended == [0]


async def test_a_worker_that_counts_as_dead_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "TICK", 0.001)
    world = World()
    async with running(world) as workers:
        await workers.apply(FIRST)
        world.frozen = {1}
        await eventually(lambda: world.ended)
        world.frozen.clear()
        await eventually(lambda: workers.serving(FIRST) == 2)
        assert set(world.ended) == {1}


async def test_a_worker_starts_with_health_then_the_table_then_traffic() -> None:
    world = World()
    world.workers.set_unavailable(["orders/o-1"])
    world.workers.move_to(FIRST)
    async with running(world):
        assert [worker.heard for worker in world.born] == [[["orders/o-1"], 1, "serve"]] * 2


async def test_a_new_worker_that_refuses_the_table_in_use_is_replaced() -> None:
    world = World()
    async with running(world) as workers:
        await workers.apply(FIRST)
        world.behaviour[0, 1] = "refuse"
        world.born[0].kill()
        await eventually(lambda: len(world.born) >= 4)
        world.behaviour.clear()
        await eventually(lambda: workers.serving(FIRST) == 2)


async def test_health_reaches_every_worker() -> None:
    world = World()
    async with running(world) as workers:
        workers.set_unavailable(["orders/o-2"])
        assert all(worker.heard[-1] == ["orders/o-2"] for worker in world.born)


async def test_a_rotation_of_logs_reaches_workers_that_start_meanwhile() -> None:
    """They have opened the file, and are not among the workers yet."""
    world = World()
    ready, real = asyncio.Event(), world.spawn

    async def spawn(index: int) -> Worker:
        worker = await real(index)
        await ready.wait()
        return worker

    world.workers._spawn = cast(Any, spawn)
    task = asyncio.create_task(world.workers.run())
    await eventually(lambda: len(world.born) == 2)
    world.workers.reopen_logs()
    ready.set()
    await eventually(lambda: world.workers.running == 2)
    assert [worker.log_opened for worker in world.born] == [2, 2]
    world.workers.drain()
    await within(task, 30)


async def test_nothing_is_started_while_draining() -> None:
    world = World()
    async with running(world) as workers:
        workers.drain()
        await eventually(lambda: sorted(world.ended) == [0, 1])
        assert workers.draining
    assert len(world.born) == 2


async def test_a_change_under_way_ends_with_the_drain() -> None:
    world = World()
    world.behaviour[0, 1] = "hang"
    async with running(world) as workers:
        task = asyncio.create_task(workers.apply(FIRST))
        await asyncio.sleep(0)
        workers.drain()
        assert await within(task, 30) == ()


async def test_a_worker_that_cannot_be_started_is_tried_again() -> None:
    world = World()
    failures = iter([OSError("no more processes"), OSError("still none")])
    real = world.spawn

    async def spawn(index: int) -> Worker:
        if (error := next(failures, None)) is not None:
            raise error
        return await real(index)

    world.workers._spawn = cast(Any, spawn)
    async with running(world) as workers:
        assert workers.restarts == 2
