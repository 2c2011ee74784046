"""The other control planes. The store has an entry for each; each is followed over its own stream (`links`).

So every control plane can show the whole fleet and wait for it. Membership is stored outside of the configuration's
prefix, so that it changes no revision that data planes see. It is attached to a lease, which ends with the process.

A control plane of the previous version, or one without an address, cannot be followed, and follows none. It writes a
summary of its data planes to the store and reads those of the others. While there is one, every control plane writes
summaries: after 0.2 s when a wait may depend on the change, after some seconds otherwise, and less often the larger
they are, so that each writes at most 50 KB a second.
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
"""Seconds that the lease of a control plane lasts without a renewal."""
RENEW = 3.0
SOON, LATE = 0.2, 5.0
"""Seconds between two summaries: after a change that a wait may depend on, and otherwise."""
BYTES_PER_SECOND = 50_000
SHARE = 10
"""Encoding summaries may take a tenth of the time, because it holds up the event loop."""
PAUSE = 2.0
"""Seconds between two attempts when the store fails."""

logger = logging.getLogger(__name__)


class Membership(Protocol):
    """Writes this control plane's keys. `commands.adapters.StoredMembership` implements it."""

    async def join(self, name: str, member: Member | None, summary: bytes, ttl: float) -> int:
        """Write the keys under a new lease of `ttl` seconds. Returns the lease. Raises store errors."""

    async def update(self, name: str, summary: bytes, lease: int) -> None:
        """Replace the summary. Raises LeaseGone and store errors."""


class Peers:
    """Takes part in the membership as `name`. Store errors are retried, and stop nothing else."""

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
        """`name` is unique to this process; after a restart it is another one. `member`: the address of this control
        plane for followers; None when it has no address that others reach. Without `links` it follows no other.
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
        """None: it cannot be followed, and its summary is read."""
        self._read = asyncio.Event()
        """Set while another control plane reads summaries."""
        self._written: bytes | None = None
        fleet.await_peers()

    @property
    def others(self) -> frozenset[str]:
        """Names of the other control planes."""
        return frozenset(self._others)

    def member(self, name: str) -> Member | None:
        """The address of another control plane; None when it cannot be followed, or is gone."""
        return self._others.get(name)

    def owners(self) -> list[str]:
        """Names of the control planes that may own limits of the fleet: those that others can reach, and that support
        it."""
        found = [name for name, member in self._others.items() if member is not None and member.limits]
        if self._member is not None or not found:
            found.append(self.name)
        return found

    async def run(self) -> None:
        """Take part until cancelled, then revoke the lease."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, work in (
                    ("listen", self._listen),
                    ("stay", self._stay),
                    ("summarize", self._summarize),
                ):
                    tasks.create_task(self._again(name, work), name=f"peers: {name}")
        finally:
            if self._links is not None:
                await self._links.close()
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._store.revoke(self._lease)

    async def _again(self, name: str, work: Callable[[], object]) -> None:
        """Run `work` again whenever the store fails. Each error is logged once in a row."""
        said = ""
        while True:
            try:
                await work()  # type: ignore[misc]
            except StoreError as error:
                if str(error) != said:
                    said = str(error)
                    logger.info(
                        "other control planes cannot be discovered", extra={"part": name, "reason": said}
                    )
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
        """Members come first: the summary of a control plane that can be followed is ignored."""
        for entry in entries:
            if entry.key.startswith(MEMBERS) and _name(entry.key) != self.name:
                self._met_member(_name(entry.key), entry.value)
        for entry in entries:
            if entry.key.startswith(SUMMARIES) and _name(entry.key) != self.name:
                self._take_summary(_name(entry.key), entry.value)
        self._count_readers()

    def _met_member(self, name: str, value: bytes) -> None:
        try:
            member = members.decode(value)
        except ValueError as error:
            logger.warning(
                "the entry of a control plane cannot be read",
                extra={"controlplane": name, "reason": str(error)},
            )
            return
        if self._links is not None:
            self._meet(name, member)
            self._fleet.expect(name)
            self._links.follow(name, member)

    def _take_summary(self, name: str, value: bytes) -> None:
        if self._others.get(name) is not None:
            return
        try:
            state = summaries.decode(value)
        except ValueError as error:
            logger.warning(
                "the summary of a control plane cannot be read",
                extra={"controlplane": name, "reason": str(error)},
            )
            return
        self._meet(name, None)
        self._fleet.receive(name, state)

    def _meet(self, name: str, member: Member | None) -> None:
        if name not in self._others:
            logger.info("another control plane appeared", extra={"controlplane": name})
        self._others[name] = member

    def _gone(self, name: str) -> None:
        if name in self._others:
            del self._others[name]
            logger.info("another control plane disappeared", extra={"controlplane": name})
            if self._links is not None:
                self._links.leave(name)
            self._fleet.lose(name)
            self._count_readers()

    def _count_readers(self) -> None:
        """A control plane that cannot be followed reads summaries. If it is this one, all others read its summary."""
        if self._others and (self._member is None or None in self._others.values()):
            self._read.set()
        else:
            self._read.clear()

    # UpdateSender

    async def _stay(self) -> None:
        while True:
            # The first summary under a new lease is complete: the others have forgotten the earlier ones.
            summary = summaries.encode(self._fleet.peer_state()) if self._read.is_set() else b""
            self._lease = await self._membership.join(self.name, self._member, summary, TTL)
            self._written = summary
            with suppress(LeaseGone):
                await self._keep_alive()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            await self._store.keep_alive(self._lease)

    async def _summarize(self) -> None:
        sent, wake = (0, False), asyncio.Event()
        with self._fleet.signals.changed.wakes(wake), self._fleet.signals.moved.wakes(wake):
            while True:
                if not self._read.is_set():
                    await self._write(b"")  # the last one is no longer read
                    await self._read.wait()
                wake.clear()
                began, news = time.perf_counter(), self._news_now()
                value = summaries.encode(self._fleet.peer_state())
                took = time.perf_counter() - began
                await self._write(value)
                sent = news
                await asyncio.sleep(max(self._soon, len(value) / BYTES_PER_SECOND, took * SHARE))
                await self._news(sent, wake)

    def _news_now(self) -> tuple[int, bool]:
        return self._fleet.signals.news, self._fleet.looks

    async def _news(self, sent: tuple[int, bool], wake: asyncio.Event) -> None:
        """Return when a summary is due: after `soon` seconds for news, after `late` seconds otherwise."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._late):
                while self._written is not None and self._news_now() == sent:
                    await wake.wait()
                    wake.clear()
                    await asyncio.sleep(self._soon)

    async def _write(self, value: bytes) -> None:
        if self._lease and value != self._written:
            with suppress(LeaseGone):  # then it joins again
                await self._membership.update(self.name, value, self._lease)
                self._written = value


def _name(key: str) -> str:
    return key.removeprefix(MEMBERS).removeprefix(SUMMARIES)
