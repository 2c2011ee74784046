"""Keeps every instance under watch: one task each, which probes, waits and probes again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dataplane.config.reports import InstanceHealth, InstanceStatus
from dataplane.gateway.policy.resources import HealthCheck, Instance, Service
from dataplane.health.state import Health, Probe, next_probe, update_status

MAX_AT_ONCE = 64
"""Most probes under way at the same time."""

_log = logging.getLogger(__name__)

Check = Callable[[Instance, HealthCheck], Awaitable[Probe]]


@dataclass(slots=True)
class _Watched:
    instance: Instance
    check: HealthCheck
    health: Health = field(default_factory=Health)
    task: asyncio.Task[None] | None = None

    @property
    def status(self) -> InstanceStatus:
        return InstanceStatus.DRAINING if self.instance.draining else self.health.status


class Prober:
    """The health of every instance of the table in use. `notify_router` is called after every change of status."""

    def __init__(
        self,
        check_endpoint: Check,
        notify_router: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._check_endpoint = check_endpoint
        self._notify_router = notify_router
        self._sleep = sleep
        self._luck = luck
        self._watched: dict[str, _Watched] = {}
        self._group: asyncio.TaskGroup | None = None
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for watched in self._watched.values():
                    self._schedule(watched)
                await asyncio.Event().wait()
        finally:
            self._group = None

    def adopt(self, services: Mapping[str, Service], instances: Iterable[Instance]) -> None:
        """Watch exactly these instances from now on; those known already keep their health.

        One that is new, or has moved to another address, is starting and is probed at once.
        """
        before, self._watched = self._watched, {}
        for instance in instances:
            name = f"{instance.service}/{instance.id}"
            check = services[instance.service].health_check
            self._watched[name] = self._kept(before.pop(name, None), _Watched(instance, check))
        for gone in before.values():
            _cancel(gone)

    def view(self) -> list[InstanceHealth]:
        """What is known of every instance."""
        return [
            InstanceHealth(
                watched.instance.service,
                watched.instance.id,
                watched.status,
                watched.health.last_check,
                watched.health.reason,
            )
            for watched in self._watched.values()
        ]

    def unavailable(self) -> list[str]:
        """ "<service>/<id>" of every instance that takes no traffic, sorted."""
        return sorted(
            name for name, watched in self._watched.items() if watched.status is not InstanceStatus.HEALTHY
        )

    @property
    def first_round_done(self) -> bool:
        """Whether every instance has been probed at least once."""
        return all(
            watched.instance.draining or watched.health.last_check for watched in self._watched.values()
        )

    def _kept(self, old: _Watched | None, new: _Watched) -> _Watched:
        """The watch over an instance that may have been watched before."""
        if old is not None and _address(old) == _address(new):
            new.health = old.health
            if (old.check, old.instance.draining) == (new.check, new.instance.draining):
                old.instance = new.instance
                return old
        if old is not None:
            _cancel(old)
        self._schedule(new)
        return new

    def _schedule(self, watched: _Watched) -> None:
        if self._group is not None and not watched.instance.draining:
            name = f"probe {watched.instance.service}/{watched.instance.id}"
            watched.task = self._group.create_task(self._watch(watched), name=name)

    async def _watch(self, watched: _Watched) -> None:
        while True:
            async with self._slots:
                probe = await self._check_endpoint(watched.instance, watched.check)
            self._update(watched, probe)
            await self._sleep(next_probe(watched.health, watched.check, self._luck()))

    def _update(self, watched: _Watched, probe: Probe) -> None:
        before, watched.health = watched.health, update_status(watched.health, probe, watched.check)
        if watched.health.status is not before.status:
            _log_change(watched, before)
            self._notify_router()


def _address(watched: _Watched) -> tuple[str, int]:
    return watched.instance.host, watched.instance.port


def _cancel(watched: _Watched) -> None:
    if watched.task is not None:
        watched.task.cancel()


def _log_change(watched: _Watched, before: Health) -> None:
    extra = {
        "service": watched.instance.service,
        "instance": watched.instance.id,
        "status": watched.health.status.value,
        "before": before.status.value,
        "reason": watched.health.reason,
    }
    _log.info("instance changed its status", extra=extra)
