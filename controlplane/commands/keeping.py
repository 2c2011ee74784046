"""Keep-alives of registrations: the leases that they renew, and the answers to the sender.

The holders of an instance are read from the store only when the watcher does not know them. The watcher knows the lease
of each instance. A holder found in a shared instance is cached until the instance is written again: removing the
instance, joining it and returning to it write it, and a holder that leaves or dies loses its lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator, Mapping, Sequence

from controlplane.commands.counts import Counts
from controlplane.commands.errors import Kept
from controlplane.commands.executor import Executor, Follower
from controlplane.commands.plans import holders
from controlplane.model.resources import Instance
from controlplane.model.stored import Stamped, key_of
from controlplane.store import Conflict, Entry, LeaseGone, Store, StoreError

MOST_REMEMBERED = 100_000
"""Instances with several holders that are remembered; beyond that, all are looked up again."""
LOOKING = 50
"""Leases of one message that are looked up in the store at the same time."""


class Keeping:
    """Renews the leases by which processes hold instances."""

    def __init__(self, store: Store, executor: Executor, follower: Follower | None) -> None:
        self._store = store
        self._executor = executor
        self._follower = follower
        self.counts = Counts()
        self._holding: dict[str, tuple[int, set[int]]] = {}
        """Of a shared instance: its revision, and the leases of those found to hold it since."""

    async def keep(self, held: Mapping[int, str]) -> dict[int, Kept | StoreError]:
        """Renew the leases by which processes hold instances, and no others: by lease the name of the instance
        ("service/id").

        Each lease has an outcome of its own: LeaseGone, or the store's error, instead of Kept.
        """
        known: dict[int, Stamped] = {}
        unknown = []
        for lease, name in held.items():
            if (found := self._known(name, lease)) is not None:
                known[lease] = found
            else:
                unknown.append((name, lease))
        if not unknown:
            return self._counted(await self._renew(known))
        renewed, *looked = await asyncio.gather(self._renew(known), *self._looks(unknown))
        for part in looked:
            renewed.update(part)
        return self._counted(renewed)

    def _counted(self, outcomes: dict[int, Kept | StoreError]) -> dict[int, Kept | StoreError]:
        counts = self.counts
        for outcome in outcomes.values():
            if isinstance(outcome, Kept):
                counts.renewed += 1
            elif isinstance(outcome, LeaseGone):
                counts.ended += 1
            else:
                counts.failed += 1
        return outcomes

    def _known(self, name: str, lease: int) -> Stamped | None:
        """The instance, if it is known here that the lease holds it."""
        found = self._follower.registration(name) if self._follower is not None else None
        if found is None or not (found.lease == lease or self._holds(name, found.revision, lease)):
            return None
        return found

    async def _renew(self, known: Mapping[int, Stamped]) -> dict[int, Kept | StoreError]:
        """Renew leases that are known to hold these instances, and the leases that holders share."""
        if not known:
            return {}
        asked = dict.fromkeys(known)
        asked.update((found.lease, None) for found in known.values())
        left = await self._store.keep_alive_all(asked)
        outcomes: dict[int, Kept | StoreError] = {}
        for lease, found in known.items():
            mine, shared = left[lease], left[found.lease]
            if isinstance(mine, StoreError):
                outcomes[lease] = mine
            elif isinstance(shared, StoreError) and not isinstance(shared, LeaseGone):
                outcomes[lease] = shared
            else:  # the shared lease may have ended: the next keep-alive detects that
                outcomes[lease] = Kept(mine, draining=_is_draining(found))
        return outcomes

    def _looks(self, unknown: Sequence[tuple[str, int]]) -> Iterator[Awaitable[dict[int, Kept | StoreError]]]:
        """Some readers, which together look at each."""
        waiting = iter(unknown)
        for _ in range(min(LOOKING, len(unknown))):
            yield self._look_at(waiting)

    async def _look_at(self, waiting: Iterator[tuple[str, int]]) -> dict[int, Kept | StoreError]:
        outcomes: dict[int, Kept | StoreError] = {}
        for name, lease in waiting:
            try:
                outcomes[lease] = await self._look(name, lease)
            except StoreError as error:
                outcomes[lease] = error
        return outcomes

    async def _look(self, name: str, lease: int) -> Kept:
        """Renew one lease after reading it from the store."""
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
        with contextlib.suppress(Conflict, LeaseGone):  # the next keep-alive detects that
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


def _is_draining(found: Stamped) -> bool:
    return isinstance(found.resource, Instance) and found.resource.draining


def _draining(entry: Entry) -> bool:
    instance = holders.instance_in(entry)
    return instance is not None and instance.draining
