"""The limits of a route, as requests take them: all must pass, and a refusal by one takes nothing from the others.

A limit that is settled by taking tokens (`take` of its counter) costs a request one call for the key and one for the
tokens. State that outlives the decision is kept on the exchange (`Exchange.held`): a place among the requests under
way, and a cost known only from the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast
from zlib import crc32

from dataplane.gateway.limit_keys import KeyMaker, key_maker
from dataplane.gateway.policy.advertise import (
    concurrency_item,
    concurrency_left_item,
    policy_item,
    remaining_item,
)
from dataplane.gateway.policy.concurrency import Concurrency
from dataplane.gateway.policy.counter import Counter, Unlimited
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.resources import Limit
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.proxy.exchange import Exchange, Fields

_WAIT: Final = 1.0
"""Retry-After of a request above a bound of requests under way, in seconds: the end of those requests is not known."""
_LONGEST_COST: Final = 12
"""Most digits of a cost that is accepted."""


class Held:
    """Something that an exchange holds until it has ended."""

    __slots__ = ()

    def sent(self, exchange: Exchange, now: float) -> None:
        """The request has been sent whole; only called if the exchange is `timed`, perhaps several times."""

    def told(self, fields: Fields, now: float) -> None:
        """The response's head or trailers have arrived, with these of the fields that the plan withholds."""

    def discarded(self, fields: Fields, now: float) -> None:
        """A response with these fields is dropped: another instance is asked."""

    def release(self) -> None:
        """The exchange has ended."""


class _Place(Held):
    """A place among the requests under way of a key."""

    __slots__ = ("_among", "_key")

    def __init__(self, among: Concurrency, key: str) -> None:
        self._among = among
        self._key = key

    def release(self) -> None:
        self._among.leave(self._key)


class _Cost(Held):
    """A cost that only the response reports: the tokens taken when the request was admitted are settled against it."""

    __slots__ = ("_counter", "_field", "_key", "_settled", "_taken")

    def __init__(self, counter: Counter, key: str, limit: Limit) -> None:
        self._counter = counter
        self._key = key
        self._field = limit.cost_header.encode("latin-1")
        self._taken = limit.cost
        self._settled = False

    def told(self, fields: Fields, now: float) -> None:
        cost = self._cost(fields)
        # Without a number of tokens the request has cost the tokens that it took.
        if self._settled or cost < 0:
            return
        self._settled = True
        more = cost - self._taken
        if more > 0:
            self._counter.charge(self._key, more, now)
        elif more < 0:
            self._counter.give_back(self._key, -more, now)

    def discarded(self, fields: Fields, now: float) -> None:
        # The tokens taken are for the response that the client gets.
        cost = self._cost(fields)
        if cost > 0:
            self._counter.charge(self._key, cost, now)

    def _cost(self, fields: Fields) -> int:
        """The tokens that a response reports; -1 if there is no such number in it."""
        values = [value for name, value in fields if name == self._field]
        if len(values) != 1 or not values[0].isdigit() or len(values[0]) > _LONGEST_COST:
            return -1
        return int(values[0])


class Check:
    """One limit on one route."""

    __slots__ = ("_among", "_limit", "_maker", "_policy", "_refusals", "by_block", "counter", "lasts")

    def __init__(self, limit: Limit, maker: KeyMaker, limiter: Limiter) -> None:
        self._limit = limit
        self._maker = maker
        self._among = limiter.concurrency(limit)
        self._policy = policy_item(limit)
        self._refusals = limiter.refusals
        self.counter = limiter.counter(limit)
        self.by_block = maker.by_block
        """Its key is the client's address as limits count it by default."""
        self.lasts = self._among is not None or bool(limit.cost_header) or limit.advertise
        """The limit does more than take tokens (`hold`)."""

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        """The key under which the request counts."""
        return self._maker.key(exchange, block, caller)

    def give_back(self, exchange: Exchange, block: str, caller: Caller, now: float) -> None:
        """Undo `take`: another limit refuses the request. Its place is free when the refusal has been sent."""
        if self._limit.name not in exchange.shadowed:
            key = self._maker.key(exchange, block, caller)
            self.counter.give_back(key, self._limit.cost, now)

    def hold(self, exchange: Exchange, key: str, now: float, counter: Counter) -> TooMany | None:
        """The tokens are taken from `counter`: also take a place until the exchange has ended.

        A refusal has taken nothing.
        """
        limit, among = self._limit, self._among
        if among is not None:
            if not among.enter(key):
                counter.give_back(key, limit.cost, now)
                return self._refusal(exchange, key, _WAIT, concurrency_item(limit))
            keep(exchange, _Place(among, key))
        if limit.cost_header:
            keep(exchange, _Cost(counter, key, limit))
        if limit.advertise:
            self._advertise(exchange, key, now, counter)
        return None

    def refuse(self, exchange: Exchange, key: str, wait: float) -> TooMany | None:
        """No tokens are available for `wait` seconds: refuse, if the limit is enforced for this key."""
        return self._refusal(exchange, key, wait, self._policy)

    def unanswered(self, exchange: Exchange, key: str) -> Unanswered | None:
        """The counter does not answer: refuse, if the limit is enforced for this key."""
        return Unanswered(self._limit) if self.enforced(exchange, key) else None

    def enforced(self, exchange: Exchange, key: str) -> bool:
        """Whether the limit refuses a request of this key; if it only observes, the exchange is marked."""
        limit = self._limit
        if limit.enforced < 100 and _lot(limit.name, key) >= limit.enforced:
            exchange.shadowed = (*exchange.shadowed, limit.name)
            return False
        return True

    def _refusal(self, exchange: Exchange, key: str, wait: float, policy: str) -> TooMany | None:
        """The refusal; or a mark only, if the limit is not enforced for this key."""
        if not self.enforced(exchange, key):
            return None
        name = self._limit.name
        self._refusals[name] = self._refusals.get(name, 0) + 1
        return TooMany(self._limit, wait, policy)

    def _advertise(self, exchange: Exchange, key: str, now: float, counter: Counter) -> None:
        limit, among = self._limit, self._among
        if limit.per_second:
            if isinstance(counter, Unlimited):
                # Redis does not answer, so the request was not counted.
                return
            left = remaining_item(limit, counter.remaining(key, now), counter.missing(key, now))
        else:
            assert among is not None
            left = concurrency_left_item(limit, among.remaining(key))
        policy = self._policy
        if exchange.response_fields:
            # Add to the field of the limits before: many clients read only the first field.
            (_, others), (_, policies) = exchange.response_fields
            left, policy = f"{others}, {left}", f"{policies}, {policy}"
        exchange.response_fields = (("ratelimit", left), ("ratelimit-policy", policy))


class Checks:
    """The limits of a route that are taken at one of the two places of the request line."""

    __slots__ = ("_checks",)

    def __init__(self, limits: Iterable[Limit], route: str, limiter: Limiter) -> None:
        self._checks = [Check(limit, key_maker(limit, route, limiter.hidden), limiter) for limit in limits]

    def take(self, exchange: Exchange, block: str, caller: Caller, now: float) -> TooMany | Unanswered | None:
        """Take all of them, or none: a refusal by one gives back what the others took."""
        refused: TooMany | Unanswered | None
        for check in self._checks:
            key = block if check.by_block else check.key(exchange, block, caller)
            wait = check.counter.take(key, now)
            if wait:
                if check.counter.counts(now):
                    refused = check.refuse(exchange, key, wait)
                else:
                    refused = check.unanswered(exchange, key)
            elif check.lasts:
                refused = check.hold(exchange, key, now, check.counter)
            else:
                continue
            if refused is not None:
                self._give_back_before(check, exchange, block, caller, now)
                return refused
        return None

    def give_back(self, exchange: Exchange, block: str, caller: Caller, now: float) -> None:
        """Undo `take`: a limit at the other place refuses the request."""
        for check in self._checks:
            check.give_back(exchange, block, caller, now)

    def _give_back_before(
        self, refusing: Check, exchange: Exchange, block: str, caller: Caller, now: float
    ) -> None:
        for check in self._checks:
            if check is refusing:
                return
            check.give_back(exchange, block, caller, now)


def note_sent(exchange: Exchange, now: float) -> None:
    """The request has been sent whole."""
    for held in cast(Sequence[Held], exchange.held):
        held.sent(exchange, now)


def tell(exchange: Exchange, fields: Fields, now: float) -> None:
    """Settle the costs that the response's fields report."""
    for held in cast(Sequence[Held], exchange.held):
        held.told(fields, now)


def discard(exchange: Exchange, fields: Fields, now: float) -> None:
    """Settle the costs that the fields of a dropped response report."""
    for held in cast(Sequence[Held], exchange.held):
        held.discarded(fields, now)


def release(exchange: Exchange) -> None:
    """Free what the exchange held."""
    for held in cast(Sequence[Held], exchange.held):
        held.release()
    exchange.held = None


def keep(exchange: Exchange, held: Held) -> None:
    """Add an item that the exchange holds until it has ended."""
    if exchange.held is None:
        exchange.held = [held]
    else:
        cast(list[Held], exchange.held).append(held)


def _lot(limit: str, key: str) -> int:
    """From 0 to 99, always the same for a key under a limit, on every data plane."""
    return crc32(f"{limit} {key}".encode("utf-8", "surrogatepass")) % 100
