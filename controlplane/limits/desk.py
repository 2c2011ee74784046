"""Answers asks about the limits that this control plane owns, and stores the data that the next owner needs.

Asks are answered from memory; nothing waits for the store. Asks about a limit in a newly claimed partition are answered
as soon as the former owner's data has been read from the store.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from controlplane.limits import floors
from controlplane.limits.claims import Claim, Claims
from controlplane.limits.floors import Name
from controlplane.limits.partitions import partition_of
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.rate_limit import RateLimit
from controlplane.store import Put, StoreError
from headgate_api.leases.messages import LEASE, SHARE, Answer, Ask, Limit, WithoutOwner
from headgate_api.leases.owner import MOST_STORED, Floors, Owner, Reservation, first_floors, is_slow

STORE_EVERY = 0.5
"""Seconds between two writes of a partition's floors, and between two sweeps."""
MOST_RUNS = 8
"""Runs of a data plane that are remembered: late asks of former runs are not answered."""
MOST_ACCOUNTS, LEAST_ACCOUNTS = 200_000, 1000
"""Keys that are not full, of all limits together, and of each at least: some 700 bytes each."""
MOST_NODES = 10_000
"""Data planes that are remembered."""
MOST_WORKERS = 512
"""Workers of one run that are answered."""
_PART = re.compile(r"[!-.0-~]{1,64}")
"""Pattern for the run and the worker in a holder's name. The parts are separated by slashes."""
SILENT = 7200.0
"""Seconds after which a data plane that asks nothing is forgotten: all its leases have lapsed."""

COARSE = "headgate:address"
"""The limit of the settings, by client address, as data planes name it. No resource can have such a name."""

logger = logging.getLogger(__name__)


class NotOwned(Exception):
    """This control plane does not own the limit, or not yet, or knows it in another form."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One limit of the fleet. Amounts are in requests."""

    name: str
    limit: Limit
    granted: float
    """Requests granted since this control plane owns the limit."""
    overshoot: float
    """Most requests above `rate * T + burst`, in the worst window since then."""


@dataclass(slots=True)
class _Run:
    """The last state of a data plane's workers, for one run of it."""

    sequence: int = -1
    workers: frozenset[str] = frozenset()
    ended: float | None = None
    """Time at which another run took its place; None for a current run."""


@dataclass(slots=True)
class _Node:
    """The states that a data plane sent, by run."""

    heard: float
    runs: dict[str, _Run] = field(default_factory=dict)


class Desk:
    """The owners of all limits in the partitions that `claims` holds."""

    def __init__(self, claims: Claims, clock: Callable[[], float] = time.monotonic) -> None:
        self._claims = claims
        self._clock = clock
        self._limits: Mapping[str, tuple[str, Limit]] = {}
        self._wanted: dict[int, dict[Name, Limit]] = {}
        """The same, by partition."""
        self._owners: dict[str, tuple[Claim, str, Owner]] = {}
        """By limit, with the identity of its buckets."""
        self._stored: dict[int, tuple[Claim, dict[Name, Floors]]] = {}
        """The store's content by partition, as this claim has read or written it."""
        self._nodes: dict[str, _Node] = {}
        self._wake = asyncio.Event()
        self._said: dict[int, str] = {}
        """The reason of the last failure to store floors, by partition."""
        claims.gained, claims.leaving = self._wake.set, self._hand_over

    def adopt(self, limits: Mapping[str, tuple[str, Limit]]) -> None:
        """Set the limits of the fleet: the identity of their buckets, and their terms, by name."""
        self._limits = limits
        self._wanted = {}
        for name, (counts_by, limit) in limits.items():
            self._wanted.setdefault(partition_of(name), {})[name, counts_by] = limit
        now = self._clock()
        for name, (_, counts_by, owner) in list(self._owners.items()):
            known = limits.get(name)
            if known is None or known[0] != counts_by:
                del self._owners[name]
            elif known[1] != owner.roll.limit:
                owner.adopt(known[1], now)
        self._wake.set()

    def hear(self, node: str, run: str, sequence: int, workers: Iterable[str]) -> Collection[str] | None:
        """Take the list of a data plane's workers, from a message of this run. Returns the asks to answer; None for a
        message of a run that has ended."""
        if not _PART.fullmatch(run):
            return None
        now = self._clock()
        known = self._nodes.pop(node, None) or _Node(now)
        if len(self._nodes) >= MOST_NODES:
            # The holder with the oldest ask.
            del self._nodes[next(iter(self._nodes))]
        self._nodes[node] = known
        known.heard = now
        found = known.runs.get(run)
        if found is None:
            for former, other in known.runs.items():
                if other.ended is None:
                    self._leave(node, former, other.workers)
                    other.ended = now
            found = known.runs[run] = _Run()
            if len(known.runs) > MOST_RUNS:
                del known.runs[next(iter(known.runs))]
        elif found.ended is not None:
            if now < found.ended + LEASE:
                return None
            # The message was not sent before the other run began: there are, or were for a moment, two data planes of
            # one name.
            logger.warning("two data planes have the same name", extra={"node": node})
            found.ended, found.workers = None, frozenset()
        if sequence > found.sequence:
            running = frozenset(islice(filter(_PART.fullmatch, workers), MOST_WORKERS))
            self._leave(node, run, found.workers - running)
            found.sequence, found.workers = sequence, running
        return found.workers

    def ask(self, name: str, counts_by: str, holder: tuple[str, str, str], ask: Ask) -> Answer | None:
        """The answer to an ask of a holder (data plane, run, worker); None if it came too late. Raises NotOwned."""
        found = self._owners.get(name)
        if found is None or found[1] != counts_by:
            raise NotOwned
        claim, _, owner = found
        if self._claims.claim(claim.partition) is not claim:
            raise NotOwned
        answer = owner.ask("/".join(holder), ask, self._clock())
        if owner.due:
            self._wake.set()
        return answer

    def owner(self, name: str) -> str:
        """The control plane that owns the limit of this name, as last read from the store; empty if there is none."""
        return self._claims.owners.get(partition_of(name), "")

    def measured(self) -> list[Measured]:
        """The state of each limit that is owned here; that of the settings' limit only if data planes count it in this
        mode."""
        return [
            Measured(name, owner.roll.limit, owner.roll.granted, max(0.0, owner.roll.overshoot))
            for name, (_, _, owner) in sorted(self._owners.items())
            if not name.startswith(COARSE) or owner.roll.members
        ]

    async def run(self) -> None:
        """Start the limits of claimed partitions, store the due floors, and forget outdated data."""
        while True:
            self._wake.clear()
            # Run concurrently: partitions must not wait for each other when the store is slow.
            await asyncio.gather(*map(self._try_to_look_after, self._claims.held.values()))
            self._sweep()
            await asyncio.sleep(STORE_EVERY / 5)
            try:
                async with asyncio.timeout(STORE_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _try_to_look_after(self, claim: Claim) -> None:
        try:
            await self._look_after(claim)
        except StoreError as error:
            # Until it is stored, slow limits grant no more than it allows.
            self._log_once(claim.partition, str(error))

    async def _look_after(self, claim: Claim) -> None:
        """Start limits that are new here, and store the due floors."""
        wanted = self._wanted.get(claim.partition, {})
        known = self._stored.get(claim.partition)
        if not wanted and (known is None or not known[1]):
            return
        if known is None or known[0] is not claim:
            entry = await claim.store.get(floors.key_of(claim.partition))
            known = claim, _read(entry.value, wanted) if entry is not None else {}
            self._stored[claim.partition] = known
        await self._store(claim, known[1], wanted)

    async def _store(self, claim: Claim, says: dict[Name, Floors], wanted: Mapping[Name, Limit]) -> None:
        """Write the data that must be stored before more is granted."""
        new = [each for each in wanted if self._current(each[0], claim) is None]
        due: list[tuple[Owner, Name, Reservation]] = []
        # All of them are one value, which must not exceed the store's limit.
        part = MOST_STORED // max(1, sum(map(is_slow, wanted.values())))
        for name in wanted:
            owner = self._current(name[0], claim)
            if owner is not None:
                owner.most_stored = part
            if owner is not None and (reservation := owner.reserve(self._clock())) is not None:
                due.append((owner, name, reservation))
        after = {name: found for name, found in says.items() if name in wanted}
        after |= {name: first_floors(wanted[name]) for name in new if name not in after}
        after |= {name: reservation.floors for _, name, reservation in due}
        if after != says:
            value = floors.encode(after)
            await claim.store.commit({}, [Put(floors.key_of(claim.partition), value)])
        for owner, _, reservation in due:
            owner.reserved(reservation)
        for name in new:
            self._begin(claim, name, wanted[name], says.get(name))
        self._stored[claim.partition] = claim, after

    def _begin(self, claim: Claim, name: Name, limit: Limit, left: Floors | None) -> None:
        if self._limits.get(name[0]) == (name[1], limit):
            owner = Owner(limit, claim.epoch, self._clock(), left is not None, left)
            self._owners[name[0]] = claim, name[1], owner
            most = max(LEAST_ACCOUNTS, MOST_ACCOUNTS // len(self._owners))
            for _, _, each in self._owners.values():
                each.most = most

    def _current(self, name: str, claim: Claim) -> Owner | None:
        found = self._owners.get(name)
        return found[2] if found is not None and found[0] is claim else None

    def _hand_over(self, claim: Claim) -> None:
        """Grant nothing any more: the stored floors apply."""
        for name in [name for name, found in self._owners.items() if found[0] is claim]:
            del self._owners[name]
        self._stored.pop(claim.partition, None)

    def _log_once(self, partition: int, reason: str) -> None:
        """Log why the floors of a partition are not stored, if it is not for the same reason as before."""
        if self._said.get(partition) != reason:
            self._said[partition] = reason
            logger.warning("limits not stored", extra={"partition": partition, "reason": reason})

    def _sweep(self) -> None:
        now = self._clock()
        for name, (claim, _, owner) in list(self._owners.items()):
            if self._claims.held.get(claim.partition) is not claim:
                del self._owners[name]
            else:
                owner.sweep(now)
        for node in [node for node, known in self._nodes.items() if now - known.heard > SILENT]:
            del self._nodes[node]

    def _leave(self, node: str, run: str, workers: Iterable[str]) -> None:
        """These workers have ended."""
        now = self._clock()
        for worker in workers:
            for _, _, owner in self._owners.values():
                owner.leave(f"{node}/{run}/{worker}", now)


def fleet_limits(limits: Iterable[RateLimit], share: float = SHARE) -> dict[str, tuple[str, Limit]]:
    """The limits of mode fleet by name: the identity of their buckets, and their terms, in requests of the limit's
    cost. `share`: seconds for which data planes use their shares without an owner."""
    return {
        limit.name: (
            limit.counts_by,
            Limit(
                limit.rate / limit.cost, limit.tokens // limit.cost, WithoutOwner(limit.without_owner), share
            ),
        )
        for limit in limits
        if limit.mode == "fleet" and limit.rate
    }


def coarse_limit(
    per_second: float, burst: int, share: float = SHARE, pools: Iterable[str] = ()
) -> dict[str, tuple[str, Limit]]:
    """The limit of the settings in the same form, for each pool of data planes; empty if there is none. Data planes
    that count it in mode fleet ask for it. Pools share no buckets: one could use up those of another."""
    limit = Limit(per_second, burst, share=share)
    return {coarse_name(pool): ("address/64", limit) for pool in (DEFAULT_POOL, *pools)} if per_second else {}


def coarse_name(pool: str) -> str:
    """The name of the limit of the settings, for the data planes of a pool."""
    return COARSE if pool == DEFAULT_POOL else f"{COARSE}@{pool}"


def _read(value: bytes, wanted: Iterable[Name]) -> dict[Name, Floors]:
    try:
        return floors.decode(value)
    except ValueError as error:
        logger.error("limits start with empty buckets", extra={"reason": str(error)})
        return {name: Floors(0.0, {}, sys.maxsize, shared=True) for name in wanted}
