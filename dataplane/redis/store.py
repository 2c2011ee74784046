"""The gateway's interface to Redis: one server, perhaps found through Sentinels, or the servers of a Cluster."""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, Collection
from itertools import count
from random import random
from time import monotonic, time
from typing import Final, Protocol

from dataplane.gateway.policy.outage import Outage
from dataplane.gateway.policy.window import Naming, command
from dataplane.gateway.store import Order, Question, Store
from dataplane.redis.acl import denied, lacking
from dataplane.redis.discovery import SLOTS, find_by_sentinel, find_slots, read_move
from dataplane.redis.link import Link
from dataplane.redis.options import Address, RedisOptions

_ASKING: Final = command(b"ASKING")
Changed = Callable[[], None]


class RedisStore(Store, Protocol):
    """A configured Redis."""

    def outage(self) -> Outage | None:
        """The oldest outage; None while all servers answer, or none is needed."""

    def refusal(self) -> Outage | None:
        """The oldest refusal of a server that still counts other keys: our user's ACL lacks some keys."""

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

    def refusal(self) -> Outage | None:
        return self._link.refusal if self._link.refusal.since is not None else None

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
        self._probes: dict[Address, bytes] = {}
        """A key of each server."""
        self._slots: list[Link | None] = [None] * SLOTS
        self._lost = Outage()
        """While no node reports the slots, or some slots have no node."""
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
        return _oldest([self._lost, *(link.outage for link in self._links.values())])

    def refusal(self) -> Outage | None:
        return _oldest([link.refusal for link in self._links.values()])

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
        """Request the slots, repeatedly while a server is away: another one will take over."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._follow(), name="asking for the Cluster's slots")

    async def _follow(self) -> None:
        pauses = Outage()
        while True:
            try:
                ranges = await find_slots(self._options, self._links)
            except Exception as error:
                # After any error: a node may return later.
                lacks = lacking(str(error), self._options.prefix)
                if self._lost.failed(str(error), time(), lacks=lacks, denied=denied(str(error))):
                    self._changed()
            else:
                self._use([(each.first, each.last, each.server) for each in ranges])
                if None in self._slots:
                    missing = self._slots.count(None)
                    if self._lost.failed(f"no node of the Cluster serves {missing} of the slots", time()):
                        self._changed()
                elif self._lost.over():
                    self._changed()
                if self.outage() is None:
                    break
            await asyncio.sleep(pauses.pause(self._chance()))
        self._refreshing = None

    def _use(self, ranges: list[tuple[int, int, Address]]) -> None:
        slots: list[Link | None] = [None] * SLOTS
        by_size = sorted(ranges, key=lambda one: one[1] - one[0])
        largest = {server: (first, last) for first, last, server in by_size}
        self._probes = {server: self._name_in(*one) for server, one in largest.items()}
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

            def probe() -> bytes:
                return self._probes.get(server, b"")

            found = self._links[server] = Link(
                self._options, find, self._link_changed, self._move, probe=probe
            )
            found.start()
        return found

    def _name_in(self, first: int, last: int) -> bytes:
        """The name of a key in one of these slots that no limit has."""
        start = f"{self._options.prefix}rate_limit:".encode()
        names = (b"%b{%d}" % (start, number) for number in count())
        return next(name for name in names if first <= slot_of(name) <= last)

    def _link_changed(self) -> None:
        self._changed()
        if self._wanted and self.outage() is not None:
            self._refresh()

    def _move(self, question: Question, error: str, deadline: float) -> bool:
        """Ask the server that the error names, in the remaining time."""
        try:
            slot, (host, port) = read_move(error)
        except ValueError:
            return False
        before = self._slots[slot_of(question.name)]
        if not 0 <= slot < SLOTS or before is None or monotonic() >= deadline:
            return False
        # An empty host means the node that was asked: it does not know its public address.
        link = self._link((host or before.address[0], port))
        if error.startswith("ASK "):
            return link.pass_on([Order(question.name, _ASKING), question], deadline)
        self._slots[slot] = link
        self._refresh()
        return link.pass_on([question], deadline)


def _oldest(outages: list[Outage]) -> Outage | None:
    present = (outage for outage in outages if outage.since is not None)
    return min(present, key=lambda outage: outage.since or 0.0, default=None)


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
