"""Leader election with fencing: one candidate acts at a time, and a deposed leader cannot write.

The candidate that created the election's key, under a lease, is the leader. Leases alone are not enough: a process that
was paused, or runs on a slow machine, may still believe that it leads. So each of its writes expects the key at the
revision that it created (a fencing token): after another one was elected, the store itself refuses them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing

from controlplane.store.errors import Compacted, Conflict, LeaseGone, StoreError
from controlplane.store.protocol import Batch, Entry, Listing, Put, Store, Write

PREFIX = "/headgate/election/"
"""Key prefix of leaders, beside the configuration."""
TTL = 10.0
"""Seconds after which a silent leader is replaced."""
PAUSE = 1.0
"""Seconds until a failure is tried again."""

logger = logging.getLogger(__name__)


class Deposed(StoreError):
    """This candidate is not the leader: nothing was written."""


class FencedStore:
    """The store as the leader may use it: every transaction holds only as long as it leads. Made by Election."""

    def __init__(self, store: Store, key: str, revision: int) -> None:
        self.key = key
        self.revision = revision
        """Revision of its election; the fencing token."""
        self._store = store

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        """As in Store. Raises Deposed, too."""
        try:
            return await self._store.commit({**expected, self.key: self.revision}, writes)
        except Conflict as error:
            if self.key in error.keys:
                raise Deposed(
                    f"{self.key}: this control plane is no longer the leader elected at revision {self.revision}"
                ) from error
            raise

    async def get(self, key: str) -> Entry | None:
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        return await self._store.list(prefix)

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Batch, None]:
        return self._store.watch(prefix, after)

    async def grant(self, ttl: float) -> int:
        return await self._store.grant(ttl)

    async def keep_alive(self, lease: int) -> float:
        return await self._store.keep_alive(lease)

    async def keep_alive_all(self, leases: Collection[int]) -> Mapping[int, float | StoreError]:
        return await self._store.keep_alive_all(leases)

    async def revoke(self, lease: int) -> None:
        await self._store.revoke(lease)

    async def status(self) -> None:
        await self._store.status()

    async def full(self) -> bool:
        return await self._store.full()

    async def close(self) -> None:
        """The store is its owner's to close."""


Work = Callable[[FencedStore], Awaitable[None]]


class Election:
    """One candidate's part in the election `name`. `candidate` is shown to people."""

    def __init__(
        self, store: Store, name: str, candidate: str, *, ttl: float = TTL, pause: float = PAUSE
    ) -> None:
        self.key = PREFIX + name
        self.leads = False
        self._store = store
        self._candidate = candidate
        self._ttl = ttl
        self._pause = pause

    async def run(self, work: Work) -> None:
        """Do `work` whenever elected, until cancelled. It is cancelled when the lease may be over, and starts again
        after the next election; likewise when it ends or fails with a StoreError."""
        said = ""
        while True:
            try:
                await self._once(work)
            except StoreError as error:
                if str(error) != said:
                    logger.info("election failed", extra={"election": self.key, "reason": str(error)})
                said = str(error)
            await asyncio.sleep(self._pause)

    async def _once(self, work: Work) -> None:
        await self._vacant()
        lease = await self._store.grant(self._ttl)
        try:
            with contextlib.suppress(Conflict):  # another one was faster
                term = await self._store.commit(
                    {self.key: 0}, [Put(self.key, self._candidate.encode(), lease)]
                )
                await self._lead(FencedStore(self._store, self.key, term), lease, work)
        finally:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._store.revoke(lease)

    async def _vacant(self) -> None:
        """Wait until there is no leader."""
        while (listing := await self._store.list(self.key)).entries:
            with contextlib.suppress(Compacted):
                async with aclosing(self._store.watch(self.key, listing.revision)) as batches:
                    async for batch in batches:
                        if self.key in batch.deletes:
                            break

    async def _lead(self, store: FencedStore, lease: int, work: Work) -> None:
        logger.info("elected", extra={"election": self.key, "revision": store.revision})
        self.leads = True
        working = asyncio.ensure_future(work(store))
        keeping = asyncio.ensure_future(self._keep(lease))
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.leads = False
            for task in (working, keeping):
                task.cancel()
            results = await asyncio.gather(working, keeping, return_exceptions=True)
            logger.info("no longer the leader", extra={"election": self.key, "revision": store.revision})
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, StoreError):
                raise result

    async def _keep(self, lease: int) -> None:
        """Renew; return when the lease is over, or may be."""
        good_until = time.monotonic() + self._ttl
        while time.monotonic() < good_until:
            await asyncio.sleep(self._ttl / 4)
            asked = time.monotonic()
            try:
                good_until = asked + await self._store.keep_alive(lease)
            except LeaseGone:
                return
            except StoreError as error:
                logger.debug("lease not renewed", extra={"election": self.key, "reason": str(error)})
