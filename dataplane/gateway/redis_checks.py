"""The limits of a route that are counted in Redis. All limits of a request at one place are asked for together.

    ask → (the answers come) → judge: passed, or a refusal, which gives back what the others took

While Redis does not answer, a limit says what holds (`on_store_failure`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, cast

from dataplane.gateway.checks import Check
from dataplane.gateway.limit_keys import KeyMaker, key_maker
from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.permit import Caller, Permit
from dataplane.gateway.policy.resources import Limit, StoreFailure
from dataplane.gateway.policy.too_many import TooMany
from dataplane.gateway.policy.window import Answer, Window
from dataplane.gateway.store import Order, Store
from dataplane.proxy.exchange import Exchange

_ASKED: Final = 0
_UNANSWERED: Final = 1
_TAKEN: Final = 2
"""Redis has taken the tokens."""
_TAKEN_HERE: Final = 3
"""Redis did not answer, and this worker counted instead."""
_NOTHING: Final = 4
"""Nothing is taken, or it has been given back."""


class Uncounted:
    """A refused request: its limit is in Redis, Redis does not answer, and the limit's policy then is closed."""

    __slots__ = ("limit",)

    def __init__(self, limit: Limit) -> None:
        self.limit = limit


class Call:
    """One request's call to Redis for one limit."""

    __slots__ = ("answer", "asking", "check", "command", "identity", "key", "name", "state")

    def __init__(self, check: RedisCheck, asking: Asking, key: str, identity: bytes) -> None:
        self.check = check
        self.asking: Asking | None = asking
        """Set until the answer has been passed on."""
        self.key = key
        self.identity = identity
        self.name = check.window.name(key)
        self.command = check.window.take(self.name, identity)
        self.answer: Answer | None = None
        self.state = _UNANSWERED

    def answered(self, reply: object, now: float) -> None:
        """Redis has taken the tokens, or says when there will be some."""
        try:
            self.answer = answer = Answer(reply)
            self.state = _NOTHING if answer.wait else _TAKEN
        except (TypeError, ValueError, OverflowError):
            # The reply cannot be read; the request continues.
            self.state = _UNANSWERED
        self.tell(now)

    def failed(self, now: float) -> None:
        """Redis has not answered in time."""
        self.state = _UNANSWERED
        self.tell(now)

    def late(self, reply: object, now: float) -> None:
        """Redis has taken the tokens after all: give them back if the request was refused meanwhile."""
        try:
            answer = Answer(reply)
        except (TypeError, ValueError, OverflowError):
            return
        if self.state == _UNANSWERED:
            # The request still waits for other answers.
            self.answer, self.state = answer, _NOTHING if answer.wait else _TAKEN
        elif self.state == _NOTHING and not answer.wait:
            self.answer = answer
            self.check.give_back_in_redis(self, self.check.cost, now)

    def tell(self, now: float) -> None:
        """Notify the waiting request."""
        asking, self.asking = self.asking, None
        if asking is not None:
            asking.heard(now)

    def give_back(self, now: float) -> None:
        """Undo the take, if there was one."""
        if self.state == _TAKEN:
            self.check.give_back_in_redis(self, self.check.cost, now)
        elif self.state == _TAKEN_HERE:
            self.check.counter.give_back(self.key, self.check.cost, now)
        self.state = _NOTHING


class _Taken(Counter):
    """The tokens that a call took, for a check that settles them later."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self.limit = call.check.counter.limit
        self._call = call

    def give_back(self, key: str, tokens: float, now: float) -> None:
        self._call.check.give_back_in_redis(self._call, int(tokens), now)

    def charge(self, key: str, tokens: float, now: float) -> None:
        self._call.check.charge_in_redis(self._call, int(tokens), now)

    def remaining(self, key: str, now: float) -> float:
        answer = self._call.answer
        return 0.0 if answer is None else float(answer.remaining)

    def missing(self, key: str, now: float) -> float:
        answer = self._call.answer
        return 0.0 if answer is None else answer.full_in


class RedisCheck(Check):
    """One limit in Redis on one route."""

    __slots__ = ("_counts", "_store", "cost", "window")

    def __init__(self, limit: Limit, maker: KeyMaker, limiter: Limiter, store: Store) -> None:
        super().__init__(limit, maker, limiter)
        self._counts = cast(InRedis, self.counter)
        self._store = store
        self.window = Window(limit, store.naming)
        self.cost = limit.cost

    def judge(self, call: Call, exchange: Exchange, now: float) -> TooMany | Uncounted | None:
        """The effect of the answer on the request. A refusal has taken nothing."""
        answer, counts, key = call.answer, self._counts, call.key
        refused: TooMany | Uncounted | None
        if answer is not None and call.state != _UNANSWERED:
            counts.saw(key, answer.remaining, now + answer.full_in, refused=answer.wait > 0)
            if answer.wait:
                return self.refuse(exchange, key, answer.wait)
            refused = self.hold(exchange, key, now, _Taken(call)) if self.lasts else None
        else:
            counts.missed(key)
            refused = self._without_answer(call, exchange, now)
        if refused is not None or self._limit.name in exchange.shadowed:
            # A request that a shadow limit would have refused holds no tokens, either.
            call.state = _NOTHING
        return refused

    def _without_answer(self, call: Call, exchange: Exchange, now: float) -> TooMany | Uncounted | None:
        policy, key, stand_in = self._limit.on_store_failure, call.key, self._counts.stand_in
        if policy is StoreFailure.CLOSED:
            return Uncounted(self._limit) if self.enforced(exchange, key) else None
        # If all requests pass there are no tokens to take, but requests under way are still counted.
        wait = stand_in.take(key, now)
        if wait:
            return self.refuse(exchange, key, wait)
        call.state = _TAKEN_HERE
        return self.hold(exchange, key, now, stand_in) if self.lasts else None

    def give_back_in_redis(self, call: Call, tokens: int, now: float) -> None:
        """Return some of the tokens that the call took."""
        slot = 0 if call.answer is None else call.answer.slot
        command = self.window.give_back(call.name, call.identity, self.cost, tokens, slot)
        self._store.ask(Order(call.name, command), now)

    def charge_in_redis(self, call: Call, tokens: int, now: float) -> None:
        """Take tokens beyond what the call took."""
        self._store.ask(Order(call.name, self.window.charge(call.name, tokens)), now)


class RedisChecks:
    """The limits of a route in Redis that are taken at one of the two places of the request line."""

    __slots__ = ("_checks", "_identity", "_last", "_store")

    def __init__(self, limits: Iterable[Limit], route: str, limiter: Limiter, store: Store) -> None:
        self._checks = [
            RedisCheck(limit, key_maker(limit, route, limiter.hidden), limiter, store) for limit in limits
        ]
        self._store = store
        self._identity = os.urandom(6).hex().encode()
        """Prefix of the unique name of a request among all data planes; a number follows."""
        self._last = 0

    def ask(self, asking: Asking, now: float) -> bool:
        """Ask for all of them; False if Redis is away, so that there is nothing to wait for."""
        for check in self._checks:
            self._last += 1
            key = check.key(asking.exchange, asking.block, asking.caller)
            call = Call(check, asking, key, b"%b%x" % (self._identity, self._last))
            asking.calls.append(call)
            if self._store.ask(call, now):
                call.state = _ASKED
                asking.waiting += 1
            else:
                call.asking = None
        return asking.waiting > 0


class Asking:
    """A request that needs limits in Redis at one place of the request line: it waits, and remembers the tokens that it
    took."""

    __slots__ = ("_resume", "before", "block", "caller", "calls", "exchange", "permit", "waiting")

    def __init__(
        self,
        resume: Callable[[Asking, float], None],
        exchange: Exchange,
        block: str,
        caller: Caller,
        permit: Permit | None,
    ) -> None:
        """`resume` is called when all calls have been answered. `block` is the client's address as limits count it;
        without a permit the request has no caller yet.
        """
        self._resume = resume
        self.exchange = exchange
        self.block = block
        self.caller = caller
        self.permit = permit
        self.calls: list[Call] = []
        self.waiting = 0
        """Calls that have not been answered."""
        self.before = cast("Asking | None", exchange.asked)
        """The calls made at the previous place."""

    def heard(self, now: float) -> None:
        """One call has been answered, or will not be answered."""
        self.waiting -= 1
        if not self.waiting:
            self._resume(self, now)

    def judge(self, now: float) -> TooMany | Uncounted | None:
        """All limits pass, or none of them has taken anything."""
        for call in self.calls:
            refused = call.check.judge(call, self.exchange, now)
            if refused is not None:
                self.give_back(now)
                return refused
        return None

    def give_back(self, now: float) -> None:
        """Give back the tokens, including those of the place before."""
        for call in self.calls:
            call.give_back(now)
        if self.before is not None:
            self.before.give_back(now)


def give_back(exchange: Exchange, now: float) -> None:
    """A limit elsewhere refuses the request: give back the tokens that it took in Redis."""
    cast(Asking, exchange.asked).give_back(now)
