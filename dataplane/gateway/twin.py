"""A gateway in the same state as another one, for a decision without consequences.

It runs the same request line, on copies of the state that one request touches, and notes what the request found there.
Nothing is taken, begun, counted or cached in the gateway itself, which serves no other request meanwhile: all of it
happens within one turn of the event loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import Final, cast

from dataplane.config.table import Table
from dataplane.gateway.backends import Backend, Backends
from dataplane.gateway.decide import Gateway
from dataplane.gateway.limit_keys import claims_of
from dataplane.gateway.policy.authenticate import Authenticator
from dataplane.gateway.policy.breaker import Breaker, Trial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.buckets import Buckets, Room
from dataplane.gateway.policy.circuit import CircuitReport, Open
from dataplane.gateway.policy.concurrency import Concurrency
from dataplane.gateway.policy.counter import Counter, Unlimited
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Circuit, Limit, LimitMode, StoreFailure
from dataplane.gateway.redis_checks import Call
from dataplane.gateway.store import NoStore, Question, Store
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.pool import Endpoint, Pool

_KEYS: Final = 100
"""Room for keys in a counter that is made for one request."""
_DEFAULT: Final = Circuit()


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request found at one limit."""

    limit: Limit
    key: str
    remaining: float
    """Tokens before it."""
    wait: float
    """Seconds until it could pass; 0: it passes."""
    counts: bool
    """The counter answers. If not, `wait` says nothing about the tokens."""
    in_redis: bool = False
    """As of the last answer that this worker got."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What a request found at the bound of the requests under way of one limit."""

    limit: Limit
    key: str
    under_way: int
    most: int
    """For this worker."""


class Notes:
    """What one request found, in order."""

    __slots__ = ("breaker", "limits")

    def __init__(self) -> None:
        self.limits: list[Taken | Entered] = []
        self.breaker: CircuitReport | None = None
        """Before the request; None if it did not get there."""


class _Nobody:
    """Observes nothing."""

    def finished(self, exchange: Exchange) -> None:
        """Twins finish no exchange."""


class _CounterTwin(Counter):
    """Copies the state of a key when it is first asked about it."""

    __slots__ = ("_keys", "_notes", "_original")

    def __init__(self, real: Counter, notes: Notes) -> None:
        self.limit = real.limit
        self._original = real
        self._notes = notes
        self._keys: dict[str, Counter] = {}

    def take(self, key: str, now: float) -> float:
        twin = self._of(key, now)
        remaining = twin.remaining(key, now)
        wait = twin.take(key, now)
        if not isinstance(self._original, Unlimited):
            self._notes.limits.append(Taken(self.limit, key, remaining, wait, twin.counts(now)))
        return wait

    def counts(self, now: float) -> bool:
        return self._original.counts(now)

    def give_back(self, key: str, tokens: float, now: float) -> None:
        self._of(key, now).give_back(key, tokens, now)

    def charge(self, key: str, tokens: float, now: float) -> None:
        self._of(key, now).charge(key, tokens, now)

    def remaining(self, key: str, now: float) -> float:
        return self._of(key, now).remaining(key, now)

    def missing(self, key: str, now: float) -> float:
        return self._of(key, now).missing(key, now)

    def _of(self, key: str, now: float) -> Counter:
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = self._original.twin(key, now)
        return found


class _ConcurrencyTwin(Concurrency):
    """Copies the number of a key when the key enters."""

    __slots__ = ("_notes", "_original")

    def __init__(self, limit: Limit, share: float, real: Concurrency | None, notes: Notes) -> None:
        super().__init__(limit, share)
        self._original = real
        self._notes = notes

    def enter(self, key: str) -> bool:
        under_way = 0 if self._original is None else self._original.under_way(key)
        self._notes.limits.append(Entered(self.limit, key, under_way, self.most))
        if under_way:
            self._under_way[key] = under_way
        return super().enter(key)


class _LimiterTwin(Limiter):
    """A limit that has not been used with these settings has full buckets."""

    def __init__(self, real: Limiter, notes: Notes) -> None:
        super().__init__(_KEYS, real.share)
        self._original = real
        self._notes = notes
        self._twins: dict[str, Counter] = {}

    def counter(self, limit: Limit) -> Counter:
        found = self._twins.get(limit.name)
        if found is None:
            found = self._twins[limit.name] = self._twin_of(self._original.known(limit) or self._fresh(limit))
        return found

    def concurrency(self, limit: Limit) -> Concurrency | None:
        if not limit.max_concurrent:
            return None
        return _ConcurrencyTwin(limit, self.share, self._original.known_concurrency(limit), self._notes)

    def hidden(self, value: str) -> str:
        return self._original.hidden(value)

    def _twin_of(self, real: Counter) -> Counter:
        if isinstance(real, InRedis):
            return real.with_stand_in(_CounterTwin(real.stand_in, self._notes))
        return _CounterTwin(real, self._notes)

    def _fresh(self, limit: Limit) -> Counter:
        if not limit.per_second:
            return Unlimited(limit)
        if limit.mode is not LimitMode.REDIS:
            return Buckets(limit, self.share if limit.mode is LimitMode.LOCAL else 1.0, Room(_KEYS))
        if limit.on_store_failure is StoreFailure.LOCAL:
            return InRedis(limit, Buckets(limit, self.share, Room(_KEYS)))
        return InRedis(limit, Unlimited(limit))


class _BreakersTwin(Breakers):
    """Copies the breaker of the service that the request goes to."""

    def __init__(self, real: Breakers, table: Table, notes: Notes) -> None:
        super().__init__()
        self._original = real
        self._table = table
        self._notes = notes

    def admit(self, service: str, now: float) -> Trial | Open:
        breaker = self._original.twin(service) or Breaker(service, _DEFAULT, {}, deque(maxlen=0))
        found = self._table.services.get(service)
        if found is not None and found.circuit != breaker.circuit:
            breaker.adopt(found.circuit)
        self._notes.breaker = breaker.report(now)
        return breaker.admit(now)


class _BackendsTwin(Backends):
    """Copies the service that the request goes to."""

    def __init__(self, real: Backends, pool: Pool, table: Table, now: float) -> None:
        super().__init__(pool, real._start)
        self._original = real
        self._table = table
        self._now = now
        self._unhealthy = real._unhealthy

    def get(self, service: str) -> Backend:
        real, twin = self._original.get(service), Backend(service)
        found = self._table.services.get(service)
        if found is None:
            return twin
        twin.kind = found.load_balancer
        twin.endpoints = self._endpoints(service, real)
        twin.in_flight = real.in_flight
        twin.ejector = real.ejector.twin(found.circuit)
        twin.ejector.keep([endpoint.id for endpoint in twin.endpoints])
        twin.ejector.reinstate(self._now)
        twin.balancer = real.balancer
        self._balance(twin)
        return twin

    def _endpoints(self, service: str, real: Backend) -> list[Endpoint]:
        """Those of the service, which tell its balancer's position; others for instances of another revision."""
        known = {endpoint.id: endpoint for endpoint in real.endpoints}
        found = []
        for instance in self._table.instances.get(service, ()):
            endpoint = known.get(instance.id)
            if endpoint is None or endpoint.instance != instance:
                endpoint = Endpoint(instance, Bounds())
            found.append(endpoint)
        return found


class _RedisTwin:
    """Answers as Redis did last, and asks nothing."""

    def __init__(self, real: Store, notes: Notes) -> None:
        self.naming = real.naming
        self._absent = isinstance(real, NoStore)
        self._notes = notes
        self._calls: list[Call] = []

    def ask(self, question: Question, now: float) -> bool:
        """As for a `Store`: False while Redis did not answer last."""
        if not isinstance(question, Call):
            return True
        counts = cast(InRedis, question.check.counter)
        if self._absent or counts.away:
            return False
        self._calls.append(question)
        return True

    def want(self, limits: object) -> None:
        """As for a `Store`."""

    def answer(self, now: float) -> bool:
        """Give the answers that are due; False if there are none."""
        calls, self._calls = self._calls, []
        for call in calls:
            self._answer(call, now)
        return bool(calls)

    def _answer(self, call: Call, now: float) -> None:
        counts = cast(InRedis, call.check.counter)
        limit, remaining = counts.limit, counts.remaining(call.key, now)
        lacking = max(0.0, limit.cost - remaining)
        wait = ceil(lacking / limit.per_second * 1e6)
        self._notes.limits.append(Taken(limit, call.key, remaining, wait / 1e6, True, True))
        left = remaining if wait else remaining - limit.cost
        full_in = ceil((limit.burst - left) / limit.per_second * 1e6)
        call.answered([wait, int(left), full_in, 0], now)


class GatewayTwin(Gateway):
    """The gateway as it would decide at `now` with `table`. Use it for one exchange, in the turn that made it."""

    def __init__(self, real: Gateway, table: Table, now: float) -> None:
        notes = Notes()
        super().__init__(
            _Nobody(),
            real._pool,
            limiter=_LimiterTwin(real.limiter, notes),
            breakers=_BreakersTwin(real.breakers, table, notes),
            backends=_BackendsTwin(real.backends, real._pool, table, now),
            default_limit=real._default_limit,
            trusted=real._trusted,
        )
        self.notes = notes
        self._real_breakers = real.breakers
        self.authorizers = None
        self._planner = real._planner.twin(self.backends, self.limiter)
        self._redis = _RedisTwin(real._store, notes)
        self._store = self._redis
        claims = claims_of(table.limits.values())
        self._authenticator = Authenticator(table.keys, claims=claims, hide=real.limiter.hidden)
        self._table = table

    @property
    def authenticator(self) -> Authenticator:
        """Its own, with nothing in its cache but the token of its exchange."""
        return self._authenticator

    def breaker(self, service: str) -> Breaker | None:
        """A copy of the breaker of a service that the request does not go to."""
        return self._real_breakers.twin(service)

    def answer(self, now: float) -> bool:
        """Answer for Redis, if the decision waits for it; False if there is nothing to answer."""
        return self._redis.answer(now)

    @property
    def unhealthy(self) -> frozenset[str]:
        """The instances ("<service>/<id>") that take no requests because of their probes."""
        return self.backends._unhealthy
