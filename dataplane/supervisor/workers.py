"""All workers of the node: keeps each place filled, moves all of them to one configuration, drains them together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol

from dataplane.config.decode import NOTHING, Bundle
from dataplane.config.table import Problem
from dataplane.supervisor.process import WorkerProcess

APPLY_TIMEOUT = 60.0
"""Seconds a worker has to answer a change before it is taken for stuck and replaced."""
MOST_DEATHS = 2
"""Workers that may die under a change before the change is taken for the reason."""
STEADY = 10.0
"""Seconds a worker must have lived for its end not to count as one more in a row."""
GRACE = 5.0
"""Seconds a worker has to exit after it should have, before it is killed."""
RESTART_FIRST, RESTART_MOST = 0.1, 10.0
"""Seconds until a worker is started again, doubling with each end in a row."""

_log = logging.getLogger(__name__)

Spawn = Callable[[int], Awaitable[WorkerProcess]]
"""Starts a worker for the place of this index."""


class WorkerStats(Protocol):
    """Who is told of the workers' statistics."""

    def take(self, worker: int, report: Any) -> None:
        """A worker counted this."""

    def end(self, worker: int) -> None:
        """It will count no more."""


class Pool:
    """The workers. `target` is what every one of them is to hold."""

    def __init__(self, count: int, spawn: Spawn, drain_timeout: float, stats: WorkerStats) -> None:
        self._count = count
        self._spawn = spawn
        self._drain_timeout = drain_timeout
        self._stats = stats
        self._workers: dict[int, WorkerProcess] = {}
        self.unavailable: list[str] = []
        """What the workers have been told, and those to come will be."""
        self._identity = b""
        self._changed = asyncio.Event()
        self._draining = asyncio.Event()
        self._deaths = 0
        self._applying = False
        self.target: Bundle = NOTHING
        self._served: Bundle = NOTHING
        """The last one that all have served: what they go back to."""
        self.restarts = 0
        self.left: Callable[[], None] = _nothing
        """Called when `leaving` may have changed."""

    @property
    def workers(self) -> tuple[WorkerProcess, ...]:
        """Those that run."""
        return tuple(self._workers.values())

    def serving(self, bundle: Bundle) -> int:
        """How many workers serve exactly this."""
        return sum(worker.holds is bundle for worker in self._workers.values())

    @property
    def loaded(self) -> int:
        """How many workers accept connections and have a configuration, the present one or the one before."""
        return sum(worker.serving and worker.holds is not NOTHING for worker in self._workers.values())

    def leaving(self) -> dict[str, int]:
        """Requests under way, over all workers, at instances that take no new ones, by "<service>/<instance>"."""
        found: Counter[str] = Counter()
        for worker in self._workers.values():
            found.update(worker.leaving)
        return dict(found)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining.is_set()

    async def run(self) -> None:
        """Keep every place filled until drained; ends when the last worker has."""
        async with asyncio.TaskGroup() as group:
            for index in range(self._count):
                group.create_task(self._fill(index), name=f"worker {index}")

    def drain(self) -> None:
        """Let every worker finish what it has and exit; none is started any more."""
        self._draining.set()
        self._changed.set()
        for worker in self._workers.values():
            worker.drain()
        asyncio.get_running_loop().call_later(self._drain_timeout + GRACE, self.kill)

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._workers.values():
            worker.kill()

    def set_unavailable(self, names: Iterable[str]) -> None:
        """Tell the workers, and those to come, which instances take no traffic."""
        self.unavailable = list(names)
        for worker in self._workers.values():
            worker.health(self.unavailable)

    def set_identity(self, identity: bytes) -> None:
        """Hand the workers, and those to come, the node's certificates."""
        self._identity = identity
        for worker in self._workers.values():
            worker.identify(identity)

    async def apply(self, bundle: Bundle) -> tuple[Problem, ...]:
        """Move every worker to `bundle` and wait until all serve it: no problems. Otherwise all move back.

        Ends early, without problems, when the node drains.
        """
        deaths = self._deaths
        self._applying = True
        self.move_to(bundle)
        try:
            async with asyncio.timeout(APPLY_TIMEOUT):
                return await self._applied(bundle, deaths)
        except TimeoutError:
            self.target = self._served
            return tuple(self._replace_stuck(bundle))
        finally:
            self._applying = False

    async def _applied(self, bundle: Bundle, deaths: int) -> tuple[Problem, ...]:
        while not self.draining:
            if all(worker.settled for worker in self._workers.values()):
                if problems := tuple(self._refusals(bundle, self._deaths - deaths)):
                    self.move_to(self._served)
                    return problems
                if self.serving(bundle) == self._count:
                    self._served = bundle
                    break
            self._changed.clear()
            await self._changed.wait()
        return ()

    def move_to(self, bundle: Bundle) -> None:
        """Make `bundle` the target and send every worker there."""
        self.target = bundle
        for worker in self._workers.values():
            worker.move_to(bundle)

    def _refusals(self, bundle: Bundle, deaths: int) -> Iterator[Problem]:
        for worker in self._workers.values():
            if worker.rejected is not None and worker.rejected[0] == (bundle.revision, bundle.digest):
                yield from worker.rejected[1]
                return
        if deaths >= MOST_DEATHS:
            yield Problem("", "", f"{deaths} workers ended while they applied it")

    def _replace_stuck(self, bundle: Bundle) -> Iterator[Problem]:
        for worker in self._workers.values():
            if worker.holds is not bundle:
                worker.kill()
                yield Problem("", "", f"worker {worker.index} did not apply it within {APPLY_TIMEOUT:g} s")
            else:
                worker.move_to(self.target)

    async def _fill(self, index: int) -> None:
        """One place: a worker, and after its end the next one."""
        wait = RESTART_FIRST
        while not self.draining:
            started = time.monotonic()
            await self._live(index)
            if self._draining.is_set():
                return
            wait = RESTART_FIRST if time.monotonic() - started > STEADY else min(wait * 2, RESTART_MOST)
            self.restarts += 1
            await self._wait_unless_draining(wait)

    async def _live(self, index: int) -> None:
        """One worker from its start to its end."""
        try:
            worker = await self._spawn(index)
        except OSError as error:
            _log.error("worker cannot be started", extra={"worker": index, "error": str(error)})
            return
        self._workers[index] = worker
        try:
            self._begin(worker)
            await worker.follow(
                lambda: self._answered(worker),
                lambda report: self._stats.take(index, report),
                lambda: self.left(),
            )
        finally:
            del self._workers[index]
            await self._bury(worker)

    def _answered(self, worker: WorkerProcess) -> None:
        if worker.rejected is not None and not self._applying:
            # It refuses what the others serve: another one may do better.
            _log.error("worker refuses the configuration in use", extra={"worker": worker.index})
            worker.kill()
        self._changed.set()

    def _begin(self, worker: WorkerProcess) -> None:
        worker.health(self.unavailable)
        if self.target is not NOTHING:
            worker.move_to(self.target)
        if self._identity:
            worker.identify(self._identity)
        worker.serve()
        if self.draining:
            worker.drain()
        _log.info("worker started", extra={"worker": worker.index, "pid": worker.process.pid})

    async def _bury(self, worker: WorkerProcess) -> None:
        self._stats.end(worker.index)
        try:
            code = await worker.end(within=GRACE)
        except TimeoutError:
            code = -9
        self._deaths += 1
        self._changed.set()
        self.left()
        if code or not self.draining:
            _log.error("worker ended", extra={"worker": worker.index, "code": code})

    async def _wait_unless_draining(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return


def _nothing() -> None:
    return
