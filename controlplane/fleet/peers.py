"""The other control planes: each leaves a summary of its data planes in the store, and reads those of the others.

So every control plane shows the whole fleet, and can wait for it. The summaries lie beside the configuration and not
in it: they wake no data plane and are no revision of it. They go with their lease when a control plane dies.

The store is spared: who is alone writes nothing but its presence; what somebody may wait for is written at once, though
not more often than five times a second; counters every few seconds; and large summaries more seldom, so that each
control plane writes at most some tens of kilobytes a second.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing, suppress

from controlplane.fleet import summaries
from controlplane.fleet.nodes import Fleet
from controlplane.store import Compacted, Entry, LeaseGone, Put, Store, StoreError

PREFIX = "/headgate/fleet/v1/"
"""Where summaries lie; what a store that asks for permissions has to allow beside the configuration."""

TTL = 10.0
"""Seconds after which a control plane that fell silent is not counted any more."""
RENEW = 3.0
SOON, LATE = 0.2, 5.0
"""Seconds between two summaries, when something happened that may be waited for, and otherwise."""
BYTES_PER_SECOND = 50_000
SHARE = 10
"""Making summaries takes this part of the time at most, a tenth: streams wait meanwhile."""
PAUSE = 2.0
"""Seconds until a failure is tried again."""

logger = logging.getLogger(__name__)


class Peers:
    """This control plane among the others, as `name`; it goes on without them when the store does not answer."""

    def __init__(
        self, store: Store, fleet: Fleet, name: str, *, soon: float = SOON, late: float = LATE
    ) -> None:
        self.name = f"{name}-{secrets.token_hex(4)}"
        self._key = PREFIX + self.name
        self._store = store
        self._fleet = fleet
        self._soon, self._late = soon, late
        self._lease = 0
        self._others: set[str] = set()
        self._met = asyncio.Event()
        self._written: bytes | None = None
        fleet.await_peers()

    @property
    def others(self) -> frozenset[str]:
        """Names of the other control planes that are there."""
        return frozenset(self._others)

    async def run(self) -> None:
        """Tell and listen until cancelled; then take the summary back."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, work in (("listen", self._listen), ("stay", self._stay), ("tell", self._tell)):
                    tasks.create_task(self._again(name, work), name=f"peers: {name}")
        finally:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._store.revoke(self._lease)

    async def _again(self, name: str, work: Callable[[], object]) -> None:
        """Do something that never ends; whatever fails is tried again, and told once."""
        said = ""
        while True:
            try:
                await work()  # type: ignore[misc]
            except StoreError as error:
                if str(error) != said:
                    said = str(error)
                    logger.info("other control planes are out of sight", extra={"part": name, "reason": said})
            await asyncio.sleep(PAUSE)

    # Listening

    async def _listen(self) -> None:
        while True:
            listing = await self._store.list(PREFIX)
            found = {entry.key for entry in listing.entries}
            for other in [other for other in self._others if PREFIX + other not in found]:
                self._gone(PREFIX + other)
            for entry in listing.entries:
                self._heard(entry)
            self._fleet.met_peers()
            with suppress(Compacted):
                async with aclosing(self._store.watch(PREFIX, listing.revision)) as batches:
                    async for batch in batches:
                        for key in batch.deletes:
                            self._gone(key)
                        for entry in batch.puts:
                            self._heard(entry)

    def _heard(self, entry: Entry) -> None:
        name = entry.key.removeprefix(PREFIX)
        if name == self.name:
            return
        try:
            told = summaries.decode(entry.value)
        except ValueError as error:
            logger.warning("a summary cannot be read", extra={"controlplane": name, "reason": str(error)})
            return
        if name not in self._others:
            self._others.add(name)
            self._met.set()
            logger.info("another control plane is there", extra={"controlplane": name})
        self._fleet.hear(name, told)

    def _gone(self, key: str) -> None:
        name = key.removeprefix(PREFIX)
        if name in self._others:
            self._others.discard(name)
            logger.info("another control plane is gone", extra={"controlplane": name})
            self._fleet.lose(name)

    # Telling

    async def _stay(self) -> None:
        while True:
            self._lease, self._written = await self._store.grant(TTL), None
            # With all there is: others who forgot its data planes meanwhile would take a wait for over without them.
            await self._write(summaries.encode(self._fleet.tells()) if self._others else b"")
            self._met.set()
            with suppress(LeaseGone):
                await self._keep_alive()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            await self._store.keep_alive(self._lease)

    async def _tell(self) -> None:
        told, wake = (0, False), asyncio.Event()
        with self._fleet.changed.wakes(wake), self._fleet.moved.wakes(wake):
            while True:
                await self._met.wait()
                wake.clear()
                pause = self._soon
                if self._others:
                    began, news = time.perf_counter(), self._news_now()
                    value = summaries.encode(self._fleet.tells())
                    took = time.perf_counter() - began
                    await self._write(value)
                    told = news
                    pause = max(pause, len(value) / BYTES_PER_SECOND, took * SHARE)
                else:
                    self._met.clear()
                await asyncio.sleep(pause)
                await self._news(told, wake)

    def _news_now(self) -> tuple[int, bool]:
        return self._fleet.news, self._fleet.looks

    async def _news(self, told: tuple[int, bool], wake: asyncio.Event) -> None:
        """Return when there is something to be told: at once what matters, the rest a little later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._late):
                while self._written is not None and self._news_now() == told:
                    await wake.wait()
                    wake.clear()
                    await asyncio.sleep(self._soon)

    async def _write(self, value: bytes) -> None:
        if self._lease and value != self._written:
            await self._store.commit({}, [Put(self._key, value, self._lease)])
            self._written = value
