"""What the gateway asks: one server, which Sentinels may name, or the servers of a Cluster."""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, Collection
from random import random
from time import monotonic, time
from typing import Final, Protocol

from dataplane.gateway.policy.outage import Outage
from dataplane.gateway.policy.window import Naming, command
from dataplane.gateway.store import Order, Question, Store
from dataplane.redis.discovery import SLOTS, find_by_sentinel, find_slots, read_move
from dataplane.redis.link import Link
from dataplane.redis.options import Address, RedisOptions

_ASKING: Final = command(b"ASKING")
Changed = Callable[[], None]


class RedisStore(Store, Protocol):
    """A Redis that somebody has configured."""

    def outage(self) -> Outage | None:
        """The oldest outage there is; None while everything answers, or nothing is needed."""

    def close(self) -> None:
        """End all connections."""


class Single:
    """One server. See `Store`, and `RedisStore`."""

    def __init__(self, options: RedisOptions, changed: Changed) -> None:
        """`changed` is called when `outage` has changed."""
        self.naming = Naming(options.prefix)

        async def find() -> Address:
            return await find_by_sentinel(options) if options.sentinel else options.servers[0]

        self._link = Link(options, find, changed)

    def ask(self, question: Question, now: float) -> bool:
        return self._link.ask(question, now)

    def want(self, limits: Collection[str]) -> None:
        if limits:
            self._link.start()
        else:
            self._link.close()

    def outage(self) -> Outage | None:
        return self._link.outage if self._link.outage.since is not None else None

    def close(self) -> None:
        self._link.close()


class Cluster:
    """The servers of a Cluster, each with its slots. See `Store`, and `RedisStore`."""

    def __init__(self, options: RedisOptions, changed: Changed, chance: Callable[[], float] = random) -> None:
        """`changed` is called when `outage` has changed."""
        self.naming = Naming(options.prefix, cluster=True)
        self._options = options
        self._chance = chance
        self._changed = changed
        self._links: dict[Address, Link] = {}
        self._slots: list[Link | None] = [None] * SLOTS
        self._lost = Outage()
        """While no node tells who has the slots."""
        self._refreshing: asyncio.Task[None] | None = None
        self._wanted = False

    def ask(self, question: Question, now: float) -> bool:
        link = self._slots[slot_of(question.name)]
        return link is not None and link.ask(question, now)

    def want(self, limits: Collection[str]) -> None:
        if not limits:
            self.close()
        elif not self._wanted:
            self._wanted = True
            self._refresh()

    def outage(self) -> Outage | None:
        outages = [self._lost, *(link.outage for link in self._links.values())]
        return min(
            (outage for outage in outages if outage.since is not None),
            key=lambda outage: outage.since or 0.0,
            default=None,
        )

    def close(self) -> None:
        self._wanted = False
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        for link in self._links.values():
            link.close()
        self._links = {}
        self._slots = [None] * SLOTS
        if self._lost.over():
            self._changed()

    def _refresh(self) -> None:
        """Ask who has the slots, again and again while a server is away: another one will take over."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._follow(), name="asking for the Cluster's slots")

    async def _follow(self) -> None:
        pauses = Outage()
        while True:
            try:
                ranges = await find_slots(self._options, self._links)
            except Exception as error:
                # Whatever it is, a node may be there again later.
                if self._lost.failed(str(error), time()):
                    self._changed()
            else:
                if self._lost.over():
                    self._changed()
                self._use([(each.first, each.last, each.server) for each in ranges])
                if self.outage() is None:
                    break
            await asyncio.sleep(pauses.pause(self._chance()))
        self._refreshing = None

    def _use(self, ranges: list[tuple[int, int, Address]]) -> None:
        slots: list[Link | None] = [None] * SLOTS
        for first, last, server in ranges:
            slots[first : last + 1] = [self._link(server)] * (last + 1 - first)
        self._slots = slots
        kept = {server for _, _, server in ranges}
        for server in self._links.keys() - kept:
            self._links.pop(server).close()
        self._changed()

    def _link(self, server: Address) -> Link:
        found = self._links.get(server)
        if found is None:

            async def find() -> Address:
                return server

            found = self._links[server] = Link(self._options, find, self._link_changed, self._move)
            found.start()
        return found

    def _link_changed(self) -> None:
        self._changed()
        if self._wanted and self.outage() is not None:
            self._refresh()

    def _move(self, question: Question, error: str, deadline: float) -> bool:
        """Ask the server that the error names."""
        now = monotonic()
        try:
            slot, server = read_move(error)
        except ValueError:
            return False
        link = self._link(server)
        if error.startswith("ASK "):
            return link.ask(Order(question.name, _ASKING), now) and link.ask(question, now)
        self._slots[slot] = link
        self._refresh()
        return now < deadline and link.ask(question, now)


def make_store(options: RedisOptions, changed: Changed) -> RedisStore:
    """The store that the options describe."""
    return Cluster(options, changed) if options.cluster else Single(options, changed)


def slot_of(name: bytes) -> int:
    """The slot of a key: of the part in the first braces, if there is one (Redis Cluster specification)."""
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return crc_hqx(name, 0) % SLOTS
