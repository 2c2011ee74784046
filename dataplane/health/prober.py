"""Probes every instance of the table in use: a new one at once, then at its service's interval."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from dataplane.config.reports import InstanceHealth, InstanceStatus
from dataplane.gateway.policy.resources import HealthCheck, Instance, Service
from dataplane.health.schedule import Job, Schedule
from dataplane.health.state import Health, Probe, next_probe, update_status

MAX_SLOTS = 512
"""Most probes in flight. A quarter of the file descriptors, if that is less."""
BATCH = 16
"""Most probes that start in one turn of the event loop."""

_log = logging.getLogger(__name__)

Check = Callable[[Instance, HealthCheck], Awaitable[Probe]]


@dataclass(slots=True, eq=False)
class _Watched:
    instance: Instance
    check: HealthCheck
    job: Job
    health: Health = field(default_factory=Health)
    task: asyncio.Task[None] | None = None
    """The probe in flight."""

    @property
    def name(self) -> str:
        return f"{self.instance.service}/{self.instance.id}"

    @property
    def status(self) -> InstanceStatus:
        return InstanceStatus.DRAINING if self.instance.draining else self.health.status


class Prober:
    """The health of every instance of the table in use. `notify_router` is called after every change of status."""

    def __init__(
        self,
        check_endpoint: Check,
        notify_router: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[asyncio.Event, float | None], Awaitable[None]] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`wait` waits for the event, at most for the given seconds. `jitter` returns a random number from 0 to 1."""
        self._check_endpoint = check_endpoint
        self._notify_router = notify_router
        self._clock = clock
        self._wait = wait or _wait
        self._jitter = jitter
        self._services: dict[str, dict[str, _Watched]] = {}
        """By service, then by id."""
        self._adopted: dict[str, tuple[tuple[Instance, ...], HealthCheck]] = {}
        self._unavailable: set[str] = set()
        self._jobs: dict[Job, _Watched] = {}
        self._schedule: Schedule | None = None
        """While `run` runs."""
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Probe until cancelled."""
        schedule = self._schedule = Schedule(slots())
        for watched in self._jobs.values():
            self._plan(watched)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    if self._start_due(schedule, group):
                        await asyncio.sleep(0)
                    else:
                        at = schedule.wake_at()
                        await self._wait(self._wake, None if at is None else max(0.0, at - self._clock()))
        finally:
            self._schedule = None

    def adopt(self, services: Mapping[str, Service], instances: Mapping[str, tuple[Instance, ...]]) -> None:
        """Watch exactly these instances, by service, from now on; known ones keep their health.

        An instance that is new or has another address is starting and is probed at once. A service whose instances and
        check are the same costs one comparison.
        """
        for gone in self._adopted.keys() - instances.keys():
            self._adopt_service(gone, (), self._adopted[gone][1])
            del self._adopted[gone], self._services[gone]
        for name, group in instances.items():
            check = services[name].health_check
            known = self._adopted.get(name)
            if known is None or known[0] is not group or known[1] != check:
                self._adopted[name] = group, check
                self._adopt_service(name, group, check)

    def view(self) -> list[InstanceHealth]:
        """The health of every instance."""
        return [
            InstanceHealth(
                watched.instance.service,
                watched.instance.id,
                watched.status,
                watched.health.last_check,
                watched.health.reason,
            )
            for group in self._services.values()
            for watched in group.values()
        ]

    def unavailable(self) -> list[str]:
        """ "<service>/<id>" of every instance that takes no traffic, sorted."""
        return sorted(self._unavailable)

    @property
    def first_round_done(self) -> bool:
        """Whether every instance has been probed at least once."""
        return all(
            watched.instance.draining or watched.health.last_check
            for group in self._services.values()
            for watched in group.values()
        )

    def _adopt_service(self, name: str, instances: tuple[Instance, ...], check: HealthCheck) -> None:
        before = self._services.get(name, {})
        group = self._services[name] = {}
        for instance in instances:
            watched = _Watched(instance, check, Job(name, check.timeout))
            group[instance.id] = self._kept(before.pop(instance.id, None), watched)
            self._note(group[instance.id])
        for gone in before.values():
            self._forget(gone)
            self._unavailable.discard(gone.name)

    def _kept(self, old: _Watched | None, new: _Watched) -> _Watched:
        """Keep the health and the rank of an instance that was watched before."""
        if old is not None and _address(old) == _address(new):
            new.health = old.health
            if (old.check, old.instance.draining) == (new.check, new.instance.draining):
                old.instance = new.instance
                return old
            new.job.rank = old.job.rank
        if old is not None:
            self._forget(old)
        self._jobs[new.job] = new
        self._plan(new)
        return new

    def _plan(self, watched: _Watched) -> None:
        if self._schedule is not None and not watched.instance.draining:
            self._schedule.plan(watched.job, self._clock())
            self._wake.set()

    def _forget(self, watched: _Watched) -> None:
        del self._jobs[watched.job]
        if self._schedule is not None:
            self._schedule.drop(watched.job)
        if watched.task is not None:
            watched.task.cancel()

    def _start_due(self, schedule: Schedule, group: asyncio.TaskGroup) -> bool:
        """Start at most BATCH of the probes that are due. True when there may be more."""
        for _ in range(BATCH):
            if (job := schedule.start(self._clock())) is None:
                return False
            watched = self._jobs[job]
            watched.task = group.create_task(self._probe(schedule, watched), name=f"probe {watched.name}")
            watched.task.add_done_callback(lambda _, job=job: self._ended(schedule, job))  # type: ignore[misc]
        return True

    async def _probe(self, schedule: Schedule, watched: _Watched) -> None:
        probe = await self._check_endpoint(watched.instance, watched.check)
        self._update(watched, probe)

    def _ended(self, schedule: Schedule, job: Job) -> None:
        """Also called for a probe that was cancelled before it began."""
        now = self._clock()
        schedule.end(job, now)
        if (watched := self._jobs.get(job)) is not None:
            watched.task = None
            schedule.plan(job, now + next_probe(watched.health, watched.check, self._jitter()))
        self._wake.set()

    def _update(self, watched: _Watched, probe: Probe) -> None:
        before, watched.health = watched.health, update_status(watched.health, probe, watched.check)
        if watched.health.status is not before.status:
            self._note(watched)
            _log_change(watched, before)
            self._notify_router()

    def _note(self, watched: _Watched) -> None:
        if watched.status is InstanceStatus.HEALTHY:
            self._unavailable.discard(watched.name)
        else:
            self._unavailable.add(watched.name)


def slots() -> int:
    """Most probes in flight: MAX_SLOTS, or a quarter of the file descriptors if that is less."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_SLOTS if soft == resource.RLIM_INFINITY else max(1, min(MAX_SLOTS, soft // 4))


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _address(watched: _Watched) -> tuple[str, int]:
    return watched.instance.host, watched.instance.port


def _log_change(watched: _Watched, before: Health) -> None:
    extra = {
        "service": watched.instance.service,
        "instance": watched.instance.id,
        "status": watched.health.status.value,
        "before": before.status.value,
        "reason": watched.health.reason,
    }
    _log.info("instance changed its status", extra=extra)
