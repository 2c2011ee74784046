"""The work of the elected control plane: runs a source for each service with discovery, and writes the answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from controlplane.commands.executor import Executor
from controlplane.commands.plans.discovery import Discover, Forget, differs, discover, forget
from controlplane.discovery.answer import Answer
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.discovery.intervals import Intervals
from controlplane.discovery.resignation import Resignation
from controlplane.model.discovered import Discovered
from controlplane.model.discovery import Discovery
from controlplane.signal import Signal
from controlplane.store import Conflict, StoreError, StoreUnavailable
from controlplane.store.election import Deposed

logger = logging.getLogger(__name__)

AUTHOR = "discovery"
GATHER = 0.1
"""Seconds in which answers are gathered before they are written, so that a rollout is a few writes."""
AT_ONCE = 10
"""Services that are written at the same time: each takes four questions to the store."""
SILENCES = 20
"""Silent sources that are written in one round."""
RETRY = 1.0
"""Seconds until what the store did not take is tried again."""

Tell = Callable[[str, Discovery, Answer], None]
"""Takes the answer of a source for a service."""


class Known(Protocol):
    """What this control plane knows of the store. Implemented by the watcher."""

    changed: Signal

    @property
    def revision(self) -> int:
        """Everything in the store up to this revision has been seen."""

    @property
    def frozen(self) -> str:
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
        resignation: Resignation | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._resignation = resignation or Resignation()
        self._known = known
        self._executor = executor
        self._sources = sources
        self._counts = counts
        self._clock = clock
        self._wanted: dict[str, Discovery] = {}
        self._answers: dict[str, Answer] = {}
        """The last answer for each service: a source repeats it only when it differs."""
        self._due: set[str] = set()
        """Services whose answer may differ from the store."""
        self._seen: dict[str, Discovered | None] = {}
        """The entry of each service as it was when it was last found equal to the answer."""
        self._written: dict[str, int] = {}
        """Revision of the last write for each service: what is known of the store may be older."""
        self._intervals = Intervals()
        self._timer: asyncio.Handle | None = None
        """Starts the next round when a service may be written again."""
        self._wake = asyncio.Event()
        self._said = ""
        """The problem of the store that was logged last."""

    async def run(self) -> None:
        """Discover until cancelled, or until the sources have been silent for so long that another control plane is to
        try. Raises Deposed when another one leads."""
        self._counts.leads = True
        try:
            with self._known.changed.wakes(self._wake):
                await self._lead()
        finally:
            self._counts.leads = False
            self._wake_after(0.0)
            await self._sources.stop()

    async def _lead(self) -> None:
        self._resignation.begin()
        self._wake.set()
        due: float | None = None
        while due is None or due > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(await self._steady_round())
            now = asyncio.get_running_loop().time()
            due = self._resignation.due_in(now, answered=self._answered())
        self._resignation.resign()
        logger.warning("discovery is left to another control plane: its sources do not answer this one")

    def _answered(self) -> bool | None:
        """Whether sources answer, all together and those of Kubernetes; None while that is not known."""
        kubernetes = [name for name, one in self._wanted.items() if one.kubernetes is not None]
        found = {self._any_answered(names) for names in (kubernetes, self._wanted) if names}
        if False in found:
            return False
        return True if found == {True} else None

    def _any_answered(self, names: Collection[str]) -> bool | None:
        answers = [self._answers[name] for name in names if name in self._answers]
        if any(one.instances is not None for one in answers):
            return True
        return None if len(answers) < len(names) else False

    async def _steady_round(self) -> float:
        """Seconds until the next one. A store that does not take an answer costs no answer of a source."""
        try:
            await self._round()
        except Deposed:
            raise
        except StoreError as error:
            self._note(error)
            self._wake.set()
            return RETRY
        self._said = ""
        return GATHER

    def _note(self, error: StoreError) -> None:
        """Outages and conflicts are ordinary, and end by themselves."""
        if isinstance(error, Conflict | StoreUnavailable):
            logger.debug("discovery is not written", extra={"reason": str(error)})
        elif str(error) != self._said:
            logger.warning("discovery cannot be written", extra={"reason": str(error)})
            self._said = str(error)

    def tell(self, service_name: str, source: Discovery, answer: Answer) -> None:
        """A source has answered. One that is not wanted any more may still do so while it is stopped."""
        if self._wanted.get(service_name) == source:
            self._answers[service_name] = answer
            self._due.add(service_name)
            self._wake.set()

    async def _round(self) -> None:
        if self._known.frozen:
            return
        self._follow()
        for name in self._known.remembered - self._wanted.keys():
            await self._executor.run(forget, Forget(author=AUTHOR, service_name=name))
        self._due |= self._changed_by_others()
        chosen = self._chosen()
        refused: list[StoreError] = []
        for start in range(0, len(chosen), AT_ONCE):
            refused += await self._write_some(chosen[start : start + AT_ONCE])
        if refused:
            raise refused[0]

    async def _write_some(self, names: Sequence[str]) -> list[StoreError]:
        """Write for these services at once. Returns why the store has not taken some of them; raises StoreError if it
        takes none now."""
        self._due.difference_update(names)
        writes = (self._guarded_write(name, self._answers[name]) for name in names)
        refused: list[StoreError] = []
        for result in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(result, StoreError) and not isinstance(result, Deposed | StoreUnavailable):
                refused.append(result)
            elif isinstance(result, BaseException):
                raise result
        return refused

    def _chosen(self) -> list[str]:
        """The services to write in this round: those whose source has answered, and some of the others.

        A whole cluster that is silent must not hold up what other sources say.
        """
        now = asyncio.get_running_loop().time()
        silent = {name: self._answers[name].instances is None for name in self._due & self._answers.keys()}
        pauses = {name: self._intervals.pause(name, now, silent=each) for name, each in silent.items()}
        ready = sorted(name for name, pause in pauses.items() if not pause)
        silences = [name for name in ready if silent[name]]
        if len(silences) > SILENCES:
            self._wake.set()
        self._wake_after(min(filter(None, pauses.values()), default=0.0))
        return [*(name for name in ready if not silent[name]), *silences[:SILENCES]]

    def _wake_after(self, pause: float) -> None:
        """The first pause that ends starts a round; 0: there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause:
            self._timer = asyncio.get_running_loop().call_later(pause, self._wake.set)

    async def _guarded_write(self, name: str, answer: Answer) -> None:
        """A bug that an answer triggers holds up no other service."""
        try:
            await self._write(name, answer)
        except StoreError:
            self._due.add(name)
            raise
        except Exception:
            logger.exception("an answer of discovery cannot be written", extra={"service": name})

    def _follow(self) -> None:
        """Follow the wanted sources. An answer of a source that is not wanted any more counts for no other one."""
        wanted = dict(self._known.discoveries)
        if wanted == self._wanted:
            return
        before, self._wanted = self._wanted, wanted
        same = {name for name, source in wanted.items() if before.get(name) == source}
        tables: tuple[dict[str, Any], ...] = (self._answers, self._seen, self._written)
        for name in before.keys() - same:
            self._intervals.forget(name)
            for table in tables:
                table.pop(name, None)
        self._sources.follow(wanted, self.tell)

    def _changed_by_others(self) -> set[str]:
        """Services whose entry is another one: deleted or damaged by hand, or restored from a backup."""
        return {name for name, seen in self._seen.items() if self._known.discovered(name) is not seen}

    async def _write(self, name: str, answer: Answer) -> None:
        known = self._known.discovered(name)
        current = self._known.revision >= self._written.get(name, 0)
        if current and not differs(known, answer.instances, answer.problem):
            self._seen[name] = known
            return
        request = Discover(
            author=AUTHOR,
            service_name=name,
            discovery=self._wanted[name],
            instances=answer.instances,
            problem=answer.problem,
            now=round(self._clock(), 3),
        )
        done = await self._executor.run(discover, request)
        # Compared again when the watcher has seen the store's present content.
        self._due.add(name)
        if done.written:
            self._counts.written += 1
            self._written[name] = done.revision
            now, number = asyncio.get_running_loop().time(), len(answer.instances or ())
            self._intervals.written(name, now, number, silent=answer.instances is None)
            self._log(name, known.problem if known else "", answer.problem)

    def _log(self, name: str, before: str, problem: str) -> None:
        if problem == before:
            return
        extra = {"service": name, "source": self._wanted[name].source}
        if problem:
            logger.warning("discovery has a problem", extra={"reason": problem, **extra})
        else:
            logger.info("discovery works", extra=extra)
