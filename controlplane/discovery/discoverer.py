"""The work of the elected control plane: runs a source for each service with discovery, and writes the answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from controlplane.commands.executor import Executor
from controlplane.commands.plans.discovery import Discover, Forget, differs, discover, forget
from controlplane.discovery.answer import Answer
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.model.discovered import Discovered
from controlplane.model.discovery import Discovery
from controlplane.signal import Signal

logger = logging.getLogger(__name__)

AUTHOR = "discovery"
GATHER = 0.1
"""Seconds in which answers are gathered before they are written, so that a rollout is a few writes."""

Tell = Callable[[str, Answer], None]
"""Takes the answer for a service."""


class Known(Protocol):
    """What this control plane knows of the store. Implemented by the watcher."""

    changed: Signal
    frozen: str
    """Why the store's content is in doubt; empty when it is not."""

    @property
    def discoveries(self) -> Mapping[str, Discovery]: ...
    @property
    def remembered(self) -> frozenset[str]: ...
    def discovered(self, service_name: str) -> Discovered | None: ...


class Sources(Protocol):
    """Follows sources."""

    def follow(self, wanted: Mapping[str, Discovery], tell: Tell) -> None:
        """Follow the sources of these services, and no others. `tell` gets each answer of each."""

    async def stop(self) -> None:
        """Follow none."""


class Discoverer:
    """Follows the sources that services name.

    `executor` must be fenced: two control planes may both believe that they lead.
    """

    def __init__(
        self,
        known: Known,
        executor: Executor,
        sources: Sources,
        counts: DiscoveryCounts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._known = known
        self._executor = executor
        self._sources = sources
        self._counts = counts
        self._clock = clock
        self._wanted: dict[str, Discovery] = {}
        self._answers: dict[str, Answer] = {}
        """The last answer for each service, until it is written."""
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Discover until cancelled. Raises StoreError."""
        self._counts.leads = True
        try:
            with self._known.changed.wakes(self._wake):
                self._wake.set()
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._round()
                    await asyncio.sleep(GATHER)
        finally:
            self._counts.leads = False
            await self._sources.stop()

    def tell(self, service_name: str, answer: Answer) -> None:
        """A source has answered."""
        if service_name in self._wanted:
            self._answers[service_name] = answer
            self._wake.set()

    async def _round(self) -> None:
        if self._known.frozen:
            return
        wanted = dict(self._known.discoveries)
        if wanted != self._wanted:
            self._wanted = wanted
            self._answers = {name: each for name, each in self._answers.items() if name in wanted}
            self._sources.follow(wanted, self.tell)
        for name in self._known.remembered - wanted.keys():
            await self._executor.run(forget, Forget(author=AUTHOR, service_name=name))
        while self._answers:
            await self._write(*self._answers.popitem())

    async def _write(self, name: str, answer: Answer) -> None:
        if not differs(self._known.discovered(name), answer.instances, answer.problem):
            return
        self._log(name, answer)
        request = Discover(
            author=AUTHOR,
            service_name=name,
            discovery=self._wanted[name],
            instances=answer.instances,
            problem=answer.problem,
            now=round(self._clock(), 3),
        )
        done = await self._executor.run(discover, request)
        self._counts.written += done.written

    def _log(self, name: str, answer: Answer) -> None:
        before = self._known.discovered(name)
        if answer.problem == (before.problem if before else ""):
            return
        extra = {"service": name, "source": self._wanted[name].source}
        if answer.problem:
            logger.warning("discovery has a problem", extra={"reason": answer.problem, **extra})
        else:
            logger.info("discovery works", extra=extra)
