"""Keeping registrations alive: what a keep-alive renews, and what it tells the process that sent it.

Who holds what is read from the store only when the watcher does not know it. It knows the lease that an instance lies
under. That a holder of a shared instance stands is remembered until the instance is written again: whoever takes it
out, joins it or comes back to it writes it, and a holder that leaves or dies loses its lease.
"""

from __future__ import annotations

import contextlib

from controlplane.commands.errors import Kept
from controlplane.commands.executor import Executor, Follower
from controlplane.commands.plans import holders
from controlplane.model.resources import Instance
from controlplane.model.stored import key_of
from controlplane.store import Conflict, Entry, LeaseGone, Store

MOST_REMEMBERED = 100_000
"""Instances with several holders; beyond that all are looked up anew."""


class Keeping:
    """Renews what processes hold of instances."""

    def __init__(self, store: Store, executor: Executor, follower: Follower | None) -> None:
        self._store = store
        self._executor = executor
        self._follower = follower
        self._holding: dict[str, tuple[int, set[int]]] = {}
        """Of a shared instance: its revision, and the leases of those found to hold it since."""

    async def keep(self, name: str, lease: int) -> Kept:
        """Renew what a process holds of an instance ("service/id"), and no other lease. Raises LeaseGone."""
        known = self._follower.registration(name) if self._follower is not None else None
        if known is None or not (known.lease == lease or self._holds(name, known.revision, lease)):
            return await self._look(name, lease)
        ttl = await self._store.keep_alive(lease)
        if known.lease != lease:
            with contextlib.suppress(LeaseGone):  # the next keep-alive finds out
                await self._store.keep_alive(known.lease)
        return Kept(ttl, draining=isinstance(known.resource, Instance) and known.resource.draining)

    async def _look(self, name: str, lease: int) -> Kept:
        """The same by what the store holds."""
        entry = await self._store.get(key_of("instance", name))
        if entry is not None and entry.lease == lease:
            return Kept(await self._store.keep_alive(lease), draining=_draining(entry))
        holder = await self._store.get(holders.holder_key(name, lease))
        found = holders.standing(holder, entry)
        if found is holders.Standing.GONE or holder is None:
            raise LeaseGone(lease)
        ttl = await self._store.keep_alive(lease)
        if found is holders.Standing.REMOVED or entry is None:
            return Kept(ttl, removed=True)
        with contextlib.suppress(Conflict, LeaseGone):  # the next keep-alive finds out
            if found is holders.Standing.BACK:
                await self._executor.run(
                    holders.come_back, holders.ComeBack(author="", name=name, mine=lease)
                )
            else:
                self._remember(name, entry.revision, lease)
            await self._store.keep_alive(entry.lease)
        return Kept(ttl, draining=_draining(entry))

    def _holds(self, name: str, revision: int, lease: int) -> bool:
        since, leases = self._holding.get(name, (0, ()))
        return since == revision and lease in leases

    def _remember(self, name: str, revision: int, lease: int) -> None:
        since, leases = self._holding.get(name, (0, set()))
        if since == revision:
            leases.add(lease)
            return
        if len(self._holding) >= MOST_REMEMBERED:
            self._holding.clear()
        self._holding[name] = revision, {lease}


def _draining(entry: Entry) -> bool:
    instance = holders.instance_in(entry)
    return instance is not None and instance.draining
