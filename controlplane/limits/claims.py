"""Claims partitions in the store: each has one owner, fenced by the revision at which it was claimed.

    /headgate/limits/v1/claims/<partition>    name of the owner, under its lease

The lease alone is not enough: a paused process may still believe after its pause that it is the owner. So it grants
nothing once the lease could have ended, by its own clock from before the last renewal; its epochs are lower than those
of the next owner; and its writes expect the claim at its revision (`store.FencedStore`). Claims are not written by
plans of the executor: a claim changes no configuration, no caller requests it, and only the store may decide its owner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass

from controlplane.limits import partitions
from controlplane.store import Compacted, Conflict, Delete, FencedStore, LeaseGone, Put, Store, StoreError

ROOT = "/headgate/limits/v1/"
CLAIMS = f"{ROOT}claims/"
TTL = 5.0
"""Seconds after which others claim the partitions of a silent owner."""
LOOK = 0.5
"""Seconds between two checks of the members."""
STAND_IN = 1.5
"""Seconds that a partition is free before the next in the order claims it: the first may be dead, and a member still,
for some seconds."""
STEADY = 12.0
"""Seconds that a partition is kept before it is given up to a member earlier in the order: if that member is dead, it
is no longer a member by then."""
PAUSE = 1.0
"""Seconds until a failure is tried again."""
AT_ONCE = 60
"""Partitions claimed by one transaction."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A partition that this control plane owns."""

    partition: int
    epoch: int
    """Revision at which it was claimed."""
    store: FencedStore
    """Writes through it are refused when another control plane has claimed the partition."""
    since: float
    """When that was, by this process's clock."""


class Claims:
    """The part of this control plane, `name`. `members` gives all control planes that may own partitions, including
    this one if it may; names are never used by a later process."""

    def __init__(
        self,
        store: Store,
        name: str,
        members: Callable[[], Collection[str]],
        *,
        ttl: float = TTL,
        look: float = LOOK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.held: dict[int, Claim] = {}
        self.owners: dict[int, str] = {}
        """The owners of partitions, as last read from the store."""
        self.gained: Callable[[], None] = lambda: None
        """Called when partitions were claimed."""
        self.leaving: Callable[[Claim], None] = lambda claim: None
        """Called before a partition is given up to another member."""
        self._store = store
        self._members = members
        self._ttl = ttl
        self._look = look
        self._clock = clock
        self._good_until = 0.0
        self._lease = 0
        self._wake = asyncio.Event()
        self._free: dict[int, float] = {}
        """Time since which each partition has been seen without an owner."""

    def claim(self, partition: int) -> Claim | None:
        """The claim to a partition, if it is certainly held now."""
        return self.held.get(partition) if self._clock() < self._good_until else None

    def members_changed(self) -> None:
        """Look at the members now."""
        self._wake.set()

    async def run(self) -> None:
        """Take part until cancelled, then give up what is held. Store errors are retried."""
        said = ""
        while True:
            try:
                await self._take_part()
            except* StoreError as errors:
                reason = str(errors.exceptions[0])
                if reason != said:
                    logger.info("this control plane owns no limits of the fleet", extra={"reason": reason})
                said = reason
            await asyncio.sleep(PAUSE)

    async def _take_part(self) -> None:
        before = self._clock()
        self._lease = await self._store.grant(self._ttl)
        self._good_until = before + self._ttl
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(), name="limits: keep")
                tasks.create_task(self._follow(), name="limits: follow")
                tasks.create_task(self._settle(), name="limits: settle")
        finally:
            self._good_until = 0.0
            self.held.clear()
            self.owners.clear()
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._store.revoke(self._lease)

    async def _keep(self) -> None:
        """Renew the lease; raise when it is over, or may be."""
        while True:
            await asyncio.sleep(self._ttl / 5)
            before = self._clock()
            try:
                left = await self._store.keep_alive(self._lease)
            except LeaseGone:
                raise
            except StoreError:
                if self._clock() >= self._good_until:
                    raise
            else:
                self._good_until = before + min(left, self._ttl)

    async def _follow(self) -> None:
        """Track the owners of partitions."""
        while True:
            listing = await self._store.list(CLAIMS)
            self.owners = {_partition(one.key): one.value.decode() for one in listing.entries}
            self._wake.set()
            with suppress(Compacted):
                async with aclosing(self._store.watch(CLAIMS, listing.revision)) as batches:
                    async for batch in batches:
                        for key in batch.deletes:
                            self.owners.pop(_partition(key), None)
                        for entry in batch.puts:
                            self.owners[_partition(entry.key)] = entry.value.decode()
                        if batch.deletes:
                            self._wake.set()

    async def _settle(self) -> None:
        """Claim the free partitions that should belong to this control plane; give up those that should belong to
        another."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await self._wake.wait()
            self._wake.clear()
            members, now, wanted = self._members(), self._clock(), []
            for partition in range(partitions.COUNT):
                order = partitions.candidates(partition, members)
                rank = order.index(self.name) if self.name in order else len(order)
                claim = self.held.get(partition)
                if claim is not None:
                    # Somebody may have deleted the key, or the store lost it.
                    lost = self.owners.get(partition) != self.name
                    if ((rank and order) or lost) and now >= claim.since + STEADY:
                        await self._give_up(claim)
                elif partition in self.owners:
                    self._free.pop(partition, None)
                elif self.name in order and now >= self._free.setdefault(partition, now) + rank * STAND_IN:
                    wanted.append(partition)
            await self._claim(wanted)

    async def _claim(self, wanted: list[int]) -> None:
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            keys = [_key(one) for one in some]
            try:
                epoch = await self._store.commit(
                    dict.fromkeys(keys, 0), [Put(key, self.name.encode(), self._lease) for key in keys]
                )
            except Conflict:
                # Another control plane has just claimed some of them: the watch will report which.
                if len(some) > 1:
                    for one in some:
                        await self._claim([one])
                continue
            for one, key in zip(some, keys, strict=True):
                fenced = FencedStore(self._store, key, epoch)
                self.held[one] = Claim(one, epoch, fenced, self._clock())
                self.owners[one] = self.name
            self.gained()
            logger.info("claimed partitions of limits", extra={"count": len(some), "epoch": epoch})

    async def _give_up(self, claim: Claim) -> None:
        """Grant nothing any more, and let the next owner claim."""
        del self.held[claim.partition]
        self.leaving(claim)
        await claim.store.commit({}, [Delete(_key(claim.partition))])
        self.owners.pop(claim.partition, None)
        logger.info("gave up a partition of limits", extra={"partition": claim.partition})


def _key(partition: int) -> str:
    return f"{CLAIMS}{partition:02}"


def _partition(key: str) -> int:
    number = key.removeprefix(CLAIMS)
    return int(number) if number.isdigit() else -1
