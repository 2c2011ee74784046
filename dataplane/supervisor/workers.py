"""All workers of the node: starts them, replaces those that end or hang, applies changes to them, drains them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol

from dataplane.channel import Kind
from dataplane.config.decode import NOTHING, Bundle
from dataplane.config.table import Problem
from dataplane.supervisor.liveness import TICK
from dataplane.supervisor.process import WorkerProcess
from dataplane.supervisor.redis_state import RedisOutage

APPLY_TIMEOUT = 60.0
"""Seconds a worker has to answer a change before it is replaced and the change is rejected."""
MOST_DEATHS = 2
"""Workers that may end during one change before the change is rejected as the cause."""
STEADY = 10.0
"""A worker that lived this many seconds resets the restart delay."""
GRACE = 5.0
"""Seconds a worker has to exit after its drain or the end of its channel before it is killed."""
RESTART_FIRST, RESTART_MOST = 0.1, 10.0
"""Seconds before a worker is started again; doubles with each early end."""
BACKLOG_WAIT = 1.0
"""Most seconds that connections wait in the queue of a worker that is not running."""

_log = logging.getLogger(__name__)

Spawn = Callable[[int], Awaitable[WorkerProcess]]
"""Starts the worker with this index."""


class StatsSink(Protocol):
    """Receives the workers' statistics."""

    def take(self, worker: int, report: Any) -> None:
        """Add a frame from this worker."""

    def end(self, worker: int) -> None:
        """This worker has ended."""


class Workers:
    """The workers. `desired` is the configuration that every one of them should hold."""

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        drain_timeout: float,
        stats: StatsSink,
        release: Callable[[int], None] | None = None,
    ) -> None:
        """`release` is called with the index of a worker that is not started again soon."""
        self._release = release or _ignore
        self._count = count
        self._spawn = spawn
        self._drain_timeout = drain_timeout
        self._stats = stats
        self._workers: dict[int, WorkerProcess] = {}
        self._living: dict[str, WorkerProcess] = {}
        """Those whose process has not ended, by name."""
        self.on_asks: Callable[[WorkerProcess, Kind, bytes], None] = _unasked
        """Called with a worker's asks to the owners of limits."""
        self.on_ended: Callable[[str], None] = _unknown
        """Called with the name of a worker whose process has ended."""
        self.on_started: Callable[[WorkerProcess], None] = _unnoticed
        """Called with a worker before it gets its first configuration."""
        self.on_move: Callable[[WorkerProcess], None] = _unnoticed
        """Called with a worker before it gets a configuration, and when it starts."""
        self.unavailable: list[str] = []
        """The instances that take no traffic, as last sent to the workers."""
        self._certificates = b""
        self._redis = ""
        self._changed = asyncio.Event()
        self._draining = asyncio.Event()
        self._deaths = 0
        self._applying = False
        self.desired: Bundle = NOTHING
        self._served: Bundle = NOTHING
        """The last configuration that all workers served: they go back to it when a change is rejected."""
        self.restarts = 0
        self.on_leaving: Callable[[], None] = _nothing
        """Called when `leaving` may have changed."""
        self.on_redis: Callable[[], None] = _nothing
        """Called when `redis` may have changed."""
        self.on_telemetry: Callable[[Kind, bytes], None] = _unexported
        """Called with what a worker has finished for OpenTelemetry."""
        self.on_answer: Callable[[WorkerProcess, bytes], None] = _unread
        """Called with a worker's answer to an operator."""
        self.on_reset: Callable[[int, Any], None] = _unheard
        """Called with the index of a worker and its report on an order to fill up buckets."""

    @property
    def running(self) -> int:
        """The number of running workers."""
        return len(self._workers)

    def serving(self, bundle: Bundle) -> int:
        """The number of workers that serve exactly this configuration."""
        return sum(worker.holds is bundle for worker in self._workers.values())

    @property
    def loaded(self) -> int:
        """The number of workers that accept connections and have a configuration, the current or the previous one."""
        return sum(worker.serving and worker.holds is not NOTHING for worker in self._workers.values())

    @property
    def living(self) -> list[WorkerProcess]:
        """All workers whose process has not ended."""
        return list(self._living.values())

    @property
    def answering(self) -> list[WorkerProcess]:
        """The workers that serve a configuration, by index."""
        found = (worker for _, worker in sorted(self._workers.items()))
        return [worker for worker in found if worker.serving and worker.holds is not NOTHING]

    def leaving(self) -> dict[str, int]:
        """Requests in flight, over all workers, at instances that take no new ones, by "<service>/<instance>"."""
        found: Counter[str] = Counter()
        for worker in self._workers.values():
            found.update(worker.leaving)
        return dict(found)

    def redis(self) -> list[RedisOutage] | None:
        """The outages of Redis that workers see, at most one for each; None while no worker has reported."""
        states = [worker.redis for worker in self._workers.values() if worker.redis_known]
        found = [
            RedisOutage(
                float(state["since"]), str(state["reason"]), str(state["lacks"]), bool(state["denied"])
            )
            for state in states
            if state
        ]
        return found if states else None

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining.is_set()

    async def run(self) -> None:
        """Keep every worker running until drained; returns when the last one has ended."""
        async with asyncio.TaskGroup() as watch:
            ticks = watch.create_task(self._tick(), name="worker liveness")
            async with asyncio.TaskGroup() as group:
                for index in range(self._count):
                    group.create_task(self._keep_running(index), name=f"worker {index}")
            ticks.cancel()

    def drain(self) -> None:
        """Tell every worker to finish its requests and exit; none is started again."""
        self._draining.set()
        self._changed.set()
        for worker in self._workers.values():
            worker.drain()
        asyncio.get_running_loop().call_later(self._drain_timeout + GRACE, self.kill)

    def kill(self) -> None:
        """End every worker immediately."""
        for worker in self._workers.values():
            worker.kill()

    def set_unavailable(self, names: Iterable[str]) -> None:
        """Send the instances that take no traffic to the workers, including those that start later."""
        self.unavailable = list(names)
        for worker in self._workers.values():
            worker.set_unavailable(self.unavailable)

    def set_certificates(self, certificates: bytes) -> None:
        """Send the node's certificates to the workers, also to those that start later."""
        self._certificates = certificates
        for worker in self._workers.values():
            worker.set_certificates(certificates)

    def set_redis(self, options: str) -> None:
        """Set the address of Redis for workers that start from now on."""
        self._redis = options

    def reopen_logs(self) -> None:
        """Tell every worker to open the file of its access log again."""
        for worker in self._workers.values():
            worker.reopen_log()

    async def apply(self, bundle: Bundle) -> tuple[Problem, ...]:
        """Move every worker to `bundle` and wait until all serve it. On a problem, move all back and return the
        problems.

        Returns early, without problems, when the node drains.
        """
        deaths = self._deaths
        self._applying = True
        self.move_to(bundle)
        try:
            async with asyncio.timeout(APPLY_TIMEOUT):
                return await self._applied(bundle, deaths)
        except TimeoutError:
            self.desired = self._served
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
        self.desired = bundle
        for worker in self._workers.values():
            self.on_move(worker)
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
                worker.move_to(self.desired)

    async def _tick(self) -> None:
        """Kill workers that hang; they are replaced like any that end."""
        while True:
            await asyncio.sleep(TICK)
            for worker in self._workers.values():
                if reason := worker.tick():
                    extra = {"worker": worker.index, "pid": worker.process.pid, "reason": reason}
                    _log.error("worker does not respond and is killed", extra=extra)
                    worker.kill()

    async def _keep_running(self, index: int) -> None:
        """Run one worker, and after its end the next one with the same index."""
        wait = RESTART_FIRST
        while not self.draining:
            started = time.monotonic()
            await self._run_one(index)
            if self._draining.is_set():
                return
            wait = RESTART_FIRST if time.monotonic() - started > STEADY else min(wait * 2, RESTART_MOST)
            self.restarts += 1
            if wait > BACKLOG_WAIT:
                self._release(index)
            await self._wait_unless_draining(wait)

    async def _run_one(self, index: int) -> None:
        """One worker process, from its start to its end."""
        try:
            worker = await self._spawn(index)
        except OSError as error:
            _log.error("worker cannot be started", extra={"worker": index, "error": str(error)})
            return
        self._workers[index] = self._living[worker.name] = worker
        try:
            self._begin(worker)
            await worker.follow(
                lambda: self._answered(worker),
                lambda report: self._stats.take(index, report),
                lambda: self.on_leaving(),
                lambda kind, payload: self.on_asks(worker, kind, payload),
                lambda: self.on_redis(),
                lambda report: self.on_reset(index, report),
                lambda kind, payload: self.on_telemetry(kind, payload),
                lambda answer: self.on_answer(worker, answer),
            )
        finally:
            del self._workers[index]
            await self._ended(worker)

    def _answered(self, worker: WorkerProcess) -> None:
        if worker.rejected is not None and not self._applying:
            # It rejects the configuration that the others serve; a new process may accept it.
            _log.error("worker rejects the configuration in use", extra={"worker": worker.index})
            worker.kill()
        self._changed.set()

    def _begin(self, worker: WorkerProcess) -> None:
        # It has opened the file already: logs may have been rotated before it was among the workers.
        worker.reopen_log()
        worker.set_unavailable(self.unavailable)
        if self._redis:
            worker.set_redis(self._redis)
        self.on_started(worker)
        self.on_move(worker)
        if self.desired is not NOTHING:
            worker.move_to(self.desired)
        if self._certificates:
            worker.set_certificates(self._certificates)
        worker.serve()
        if self.draining:
            worker.drain()
        _log.info("worker started", extra={"worker": worker.index, "pid": worker.process.pid})

    async def _ended(self, worker: WorkerProcess) -> None:
        self._stats.end(worker.index)
        try:
            code = await worker.end(within=GRACE)
        except TimeoutError:
            code = -9
        finally:
            self._living.pop(worker.name, None)
            self.on_ended(worker.name)
        self._deaths += 1
        self._changed.set()
        self.on_leaving()
        self.on_redis()
        if code or not self.draining:
            _log.error("worker ended", extra={"worker": worker.index, "code": code})

    async def _wait_unless_draining(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return


def _ignore(index: int) -> None:
    return


def _unheard(index: int, report: Any) -> None:
    return


def _nothing() -> None:
    return


def _unasked(worker: WorkerProcess, kind: Kind, payload: bytes) -> None:
    return


def _unexported(kind: Kind, payload: bytes) -> None:
    return


def _unread(worker: WorkerProcess, answer: bytes) -> None:
    return


def _unknown(name: str) -> None:
    return


def _unnoticed(worker: WorkerProcess) -> None:
    return
