"""The other control planes: the store says which there are, and each is followed by a stream of its own.

So every control plane shows the whole fleet, and can wait for it. What is in the store lies beside the configuration
and not in it: it wakes no data plane and is no revision of it. It goes with its lease when a control plane dies.

A control plane of the version before, or one that has no address of its own, is not followed: it leaves a summary of
its data planes in the store, and reads those of the others there. While there is such a one, every control plane leaves
one; what somebody may wait for is written at once then, though not more often than five times a second; counters every
few seconds; and large summaries more seldom, so that each writes at most some tens of kilobytes a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Protocol

from controlplane.fleet import members, summaries
from controlplane.fleet.links import Links
from controlplane.fleet.members import MEMBERS, ROOT, SUMMARIES, Member
from controlplane.fleet.nodes import Fleet
from controlplane.store import Compacted, Entry, LeaseGone, Store, StoreError

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


class Membership(Protocol):
    """Writes what the store holds of this control plane. `commands.membership.StoredMembership` implements it."""

    async def join(self, name: str, member: Member | None, summary: bytes, ttl: float) -> int:
        """Be there, under a new lease of so many seconds; the lease. Raises store errors."""

    async def tell(self, name: str, summary: bytes, lease: int) -> None:
        """Put another summary in place of the last one. Raises LeaseGone, store errors."""


class Peers:
    """This control plane among the others, as `name`; it goes on without them when the store does not answer."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        fleet: Fleet,
        name: str,
        *,
        member: Member | None = None,
        links: Links | None = None,
        soon: float = SOON,
        late: float = LATE,
    ) -> None:
        """`name` is this process's alone: after a restart it is another one. `member`: where this one can be followed;
        None where it has no address, or none that others reach.

        Without `links` it follows nobody.
        """
        self.name = name
        self._store = store
        self._membership = membership
        self._fleet = fleet
        self._member = member
        self._links = links
        self._soon, self._late = soon, late
        self._lease = 0
        self._others: dict[str, Member | None] = {}
        """None: it can only be read in the store."""
        self._read = asyncio.Event()
        """Whether somebody reads the summaries in the store: set while that is so."""
        self._written: bytes | None = None
        fleet.await_peers()

    @property
    def others(self) -> frozenset[str]:
        """Names of the other control planes that are there."""
        return frozenset(self._others)

    async def run(self) -> None:
        """Tell and listen until cancelled; then take back what is in the store."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, work in (("listen", self._listen), ("stay", self._stay), ("tell", self._tell)):
                    tasks.create_task(self._again(name, work), name=f"peers: {name}")
        finally:
            if self._links is not None:
                await self._links.close()
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
            listing = await self._store.list(ROOT)
            self._take(listing.entries)
            names = {_name(entry.key) for entry in listing.entries}
            for other in [other for other in self._others if other not in names]:
                self._gone(other)
            self._fleet.met_peers()
            with suppress(Compacted):
                async with aclosing(self._store.watch(ROOT, listing.revision)) as batches:
                    async for batch in batches:
                        self._take(batch.puts)
                        # Both keys of a control plane go with its lease, at once.
                        for key in batch.deletes:
                            self._gone(_name(key))

    def _take(self, entries: tuple[Entry, ...]) -> None:
        """Members first: who can be followed is not read in the store."""
        for entry in entries:
            if entry.key.startswith(MEMBERS) and _name(entry.key) != self.name:
                self._met_member(_name(entry.key), entry.value)
        for entry in entries:
            if entry.key.startswith(SUMMARIES) and _name(entry.key) != self.name:
                self._heard(_name(entry.key), entry.value)
        self._count_readers()

    def _met_member(self, name: str, value: bytes) -> None:
        try:
            member = members.decode(value)
        except ValueError as error:
            logger.warning("a member cannot be read", extra={"controlplane": name, "reason": str(error)})
            return
        if self._links is not None:
            self._meet(name, member)
            self._fleet.expect(name)
            self._links.follow(name, member)

    def _heard(self, name: str, value: bytes) -> None:
        if self._others.get(name) is not None:
            return
        try:
            told = summaries.decode(value)
        except ValueError as error:
            logger.warning("a summary cannot be read", extra={"controlplane": name, "reason": str(error)})
            return
        self._meet(name, None)
        self._fleet.hear(name, told)

    def _meet(self, name: str, member: Member | None) -> None:
        if name not in self._others:
            logger.info("another control plane is there", extra={"controlplane": name})
        self._others[name] = member

    def _gone(self, name: str) -> None:
        if name in self._others:
            del self._others[name]
            logger.info("another control plane is gone", extra={"controlplane": name})
            if self._links is not None:
                self._links.leave(name)
            self._fleet.lose(name)
            self._count_readers()

    def _count_readers(self) -> None:
        """Whoever cannot be followed does not follow either; and nobody follows a control plane without an address."""
        if self._others and (self._member is None or None in self._others.values()):
            self._read.set()
        else:
            self._read.clear()

    # Telling

    async def _stay(self) -> None:
        while True:
            # With all there is: others who forgot its data planes meanwhile would take a wait for over without them.
            summary = summaries.encode(self._fleet.tells()) if self._read.is_set() else b""
            self._lease = await self._membership.join(self.name, self._member, summary, TTL)
            self._written = summary
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
                if not self._read.is_set():
                    await self._write(b"")  # nobody reads the last one any more
                    await self._read.wait()
                wake.clear()
                began, news = time.perf_counter(), self._news_now()
                value = summaries.encode(self._fleet.tells())
                took = time.perf_counter() - began
                await self._write(value)
                told = news
                await asyncio.sleep(max(self._soon, len(value) / BYTES_PER_SECOND, took * SHARE))
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
            with suppress(LeaseGone):  # then it joins anew
                await self._membership.tell(self.name, value, self._lease)
                self._written = value


def _name(key: str) -> str:
    return key.removeprefix(MEMBERS).removeprefix(SUMMARIES)
