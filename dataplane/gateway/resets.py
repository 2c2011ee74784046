"""Operators' orders to close a breaker or to refill a bucket: each is obeyed once.

A table holds an order for a while, and a restored store may bring back old ones. An order is known by its target and
revision. Revisions are not compared: they go back with the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.bucket_keys import label, short
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import LimitMode, Reset
from dataplane.gateway.policy.window import reset
from dataplane.gateway.store import NoStore, Store
from dataplane.proxy.trust import address_block

_MOST_OBEYED: Final = 1_000
"""Resets remembered that are no longer in the table."""
_MOST_UNSENT: Final = 10_000
_SENT_AGAIN: Final = 240.0
"""Seconds during which the order is sent to Redis again; shorter than Redis remembers that it has carried it out
(`window.reset`)."""
_ADDRESS: Final = "address:"
_BLOCK_BITS: Final = 64


class Outcome:
    """The outcome of an order to refill buckets, by names of limits."""

    __slots__ = ("limits", "revision", "shared", "unreached", "waiting")

    def __init__(self, revision: int) -> None:
        self.revision = revision
        """Revision of the order."""
        self.limits: set[str] = set()
        """Limits that had a bucket of the key here."""
        self.shared: set[str] = set()
        """Limits that had a bucket for all data planes: at the limit's owner or in Redis."""
        self.unreached: set[str] = set()
        """Limits in Redis, if it did not answer, or was not told."""
        self.waiting = 1
        """Orders without an answer, plus one until all have been sent."""


class _InRedis:
    """An order for one key in Redis. Its outcome is recorded once, from the first answer; until then it counts as
    open."""

    __slots__ = ("_limit", "_outcome", "_resets", "command", "name", "until")

    def __init__(self, resets: Resets, outcome: Outcome, limit: str, name: bytes, until: float) -> None:
        self.name = name
        self.command = reset(name, outcome.revision)
        self._resets = resets
        self._outcome: Outcome | None = outcome
        outcome.waiting += 1
        self._limit = limit
        self.until = until

    def answered(self, reply: object, now: float) -> None:
        """The order has been carried out, by this or an earlier sender."""
        if self._outcome is not None and reply == 1:
            self._outcome.shared.add(self._limit)
        self._settle()

    def failed(self, now: float) -> None:
        """It is unknown whether the order was carried out."""
        if self._outcome is not None:
            self._outcome.unreached.add(self._limit)
        self._resets.not_heard(self)
        self._settle()

    def late(self, reply: object, now: float) -> None:
        """Redis had carried out the order already: it recognises a repeated one."""

    def _settle(self) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            self._resets.settle(outcome)


class Resets:
    """The orders that one worker has obeyed."""

    def __init__(self, limiter: Limiter, breakers: Breakers) -> None:
        self._limiter = limiter
        self._breakers = breakers
        self._obeyed: dict[Reset, None] = {}
        self.store: Store = NoStore()
        """The store of limits in Redis."""
        self.done: Callable[[Outcome], None] = _ignore
        """Called when an order to refill buckets has been obeyed, in Redis too."""
        self._unsent: deque[_InRedis] = deque(maxlen=_MOST_UNSENT)

    def obey(self, resets: Collection[Reset], now: float, *, first: bool = False) -> None:
        """Obey the orders of a new table that are new here.

        Those of the `first` table are not passed on to Redis: they are older than this worker, and were obeyed there.
        """
        for order in resets:
            if order in self._obeyed:
                continue
            self._obeyed[order] = None
            if order.circuit:
                self._breakers.reset(order.circuit, now)
            if order.rate_limit:
                self._fill_up(order, now, first)
        while len(self._obeyed) > _MOST_OBEYED + len(resets):
            del self._obeyed[next(iter(self._obeyed))]

    def settle(self, outcome: Outcome) -> None:
        """One open question has ended."""
        outcome.waiting -= 1
        if not outcome.waiting:
            self.done(outcome)

    def _fill_up(self, order: Reset, now: float, first: bool) -> None:
        outcome = Outcome(order.revision)
        for bits in sorted({_BLOCK_BITS, *self._limiter.prefixes()}):
            key = _bucket(order.rate_limit, bits)
            for limit in self._limiter.reset(key, order.revision, now):
                (outcome.shared if limit.mode is LimitMode.FLEET else outcome.limits).add(limit.name)
            if first:
                outcome.unreached.update(limit.name for limit in self._limiter.in_redis())
            else:
                self._reset_in_redis(key, outcome, now)
        self.settle(outcome)

    def _reset_in_redis(self, key: str, outcome: Outcome, now: float) -> None:
        for limit in self._limiter.in_redis():
            for bare in {key, key.removeprefix(label(limit, ""))}:
                name = self.store.naming.name(limit.name, short(bare))
                self._send(_InRedis(self, outcome, limit.name, name, now + _SENT_AGAIN), now)

    def send_again(self, now: float) -> None:
        """Redis answers again: send the orders that it missed during the outage."""
        for _ in range(len(self._unsent)):
            order = self._unsent.popleft()
            if now < order.until:
                self._send(order, now)

    def _send(self, order: _InRedis, now: float) -> None:
        if not self.store.ask(order, now):
            order.failed(now)

    def not_heard(self, order: _InRedis) -> None:
        """To be sent again."""
        self._unsent.append(order)


def _bucket(key: str, bits: int) -> str:
    """The key of a bucket that an operator names: any address of an IPv6 host means its block of so many `bits`."""
    if key.startswith(_ADDRESS):
        return _ADDRESS + _block(key.removeprefix(_ADDRESS), bits)
    return _block(key, bits)


def _block(address: str, bits: int) -> str:
    # A block is named by its length, too.
    return address if address.endswith(f"/{bits}") else address_block(address, bits)


def _ignore(outcome: Outcome) -> None:
    return
