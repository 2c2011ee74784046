"""The counters of all limits of this worker: made, carried over changes, reported and reset here. Leased limits ask
their owners; the worker's runner carries the messages (`asks`, `answer`).

`gateway.checks` uses them for requests; `buckets` holds the bucket arithmetic. Counters belong to a limit by its
name: the routes that name it share them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Final

from dataplane.gateway.policy.bucket_keys import label, short
from dataplane.gateway.policy.bucket_reports import NODE, WORKER, BucketReport, BucketReports, limits_of
from dataplane.gateway.policy.buckets import Buckets, Room
from dataplane.gateway.policy.concurrency import Concurrency
from dataplane.gateway.policy.counter import Counter, Unlimited
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.leased import Leased, terms
from dataplane.gateway.policy.resources import Limit, LimitMode, StoreFailure
from headgate_api.leases.messages import MOST_WANTS, Answer, Ask
from headgate_api.leases.successor import Share

_HIDDEN: Final = 12
"""Bytes of the keyed hash that replaces a value that may be a credential or personal."""
_LEAST_ASKED: Final = 10
"""Keys of each limit that owners may be asked about in one turn, however many there are."""
_LEAST_TIDIED: Final = 100
_MOST_TIDIED: Final = 1000
"""Keys of a limit that one turn checks for use; of many keys one in _TIDY_TURNS."""
_TIDY_TURNS: Final = 20
_MOST_CARRIED: Final = 10_000
"""Keys whose state is carried over when a limit is counted in another way."""
_LEAST_QUIET: Final = 100
_QUIET_TURNS: Final = 4
"""Limits without questions whose owners are asked in one turn nevertheless, so that they know that this worker exists:
of many limits one in _QUIET_TURNS. All at once would delay requests, here and at the owners."""


class Limiter:
    """All counters of this worker."""

    def __init__(self, max_keys: int = 1_000_000, share: float = 1.0, secret: bytes = b"") -> None:
        """At most `max_keys` buckets are kept, of all limits together, and for each limit one that new keys share then.

        `share` is this worker's part of every limit. `secret` (64 bytes at most) is the key for `hidden`, the same on
        every data plane of a fleet.
        """
        self._secret = secret
        self.share = share
        """This worker's part of the data plane's limit, above 0 and at most 1."""
        self._workers = round(1 / share)
        self._leased: dict[str, Leased] = {}
        """The counters that lease their tokens."""
        self._shares: dict[tuple[str, str], Share] = {}
        """Shares of predecessors for limits of the first configuration, by limit and identity of its buckets."""
        self._runs = self._turn = 0
        self.wake: Callable[[], None] = _nothing
        """Called when `asks` may have a question after a time without any."""
        self._room = Room(max_keys)
        self._counters: dict[str, Counter] = {}
        self._concurrent: dict[str, Concurrency] = {}
        here = NODE if self._workers == 1 else WORKER
        self._reports = BucketReports(self._counters, self._concurrent, here)
        self.refusals: dict[str, int] = {}
        """Requests that were refused since this was last emptied, by limit."""

    def counter(self, limit: Limit) -> Counter:
        """The counter of the limit: the same object until the limit is deleted or counts by another key."""
        return self._counters.get(limit.name) or self._make(limit)

    def known(self, limit: Limit) -> Counter | None:
        """The counter of the limit, if it has been used with these very settings."""
        found = self._counters.get(limit.name)
        return found if found is not None and found.limit == limit else None

    def known_concurrency(self, limit: Limit) -> Concurrency | None:
        """The same, for its requests under way."""
        found = self._concurrent.get(limit.name)
        return found if found is not None and found.limit == limit else None

    def concurrency(self, limit: Limit) -> Concurrency | None:
        """The counter of the limit's requests under way; None if it does not bound them."""
        if not limit.max_concurrent:
            return None
        found = self._concurrent.get(limit.name)
        if found is None:
            found = self._concurrent[limit.name] = Concurrency(limit, self.share)
        return found

    def hidden(self, value: str) -> str:
        """The replacement for a value that may be a credential or personal: reports and orders to reset travel far."""
        if not value:
            return value
        text = value.encode("utf-8", "surrogatepass")
        return "#" + blake2b(text, key=self._secret, digest_size=_HIDDEN).hexdigest()

    def adopt(self, limits: Mapping[str, Limit], now: float) -> None:
        """Use `limits` from now on: all limits by name, including those of the settings. Others are forgotten.

        A changed limit keeps its counters, unless it now counts by another key.
        """
        for name, counter in list(self._counters.items()):
            limit = limits.get(name)
            if limit is counter.limit:
                continue
            if limit is None or not _carries(counter.limit, limit):
                self._drop(name)
            elif self._owner_of(counter.limit) != self._owner_of(limit):
                lacking = _lacking(counter, self.share, now)
                self._drop(name)
                made = self._make(limit)
                for key, tokens in lacking:
                    made.charge(key, tokens, now)
            elif limit != counter.limit:
                counter.adopt(limit, now)
        for limit in limits.values():
            # Before the first request: a worker leases its tokens, and passes orders to reset on to Redis.
            if limit.name not in self._counters and (
                limit.mode is LimitMode.REDIS or terms(limit, self._workers)
            ):
                self._make(limit)
        for leased in self._leased.values():
            leased.share_memory(len(self._leased))
        if self._shares:
            self._hand_out(now)
            self._shares = {}
        for name, concurrency in list(self._concurrent.items()):
            limit = limits.get(name)
            if limit is None or not limit.max_concurrent or _identity(limit) != _identity(concurrency.limit):
                del self._concurrent[name]
            else:
                concurrency.adopt(limit)

    def prefixes(self) -> set[int]:
        """The bits by which IPv6 addresses count in any limit in use."""
        return {
            limit.address_prefix
            for limit in limits_of(self._counters, self._concurrent)
            if "address" in limit.key
        }

    def asks(self, now: float, fleet: bool) -> list[tuple[Leased, Ask]]:
        """The asks to send to the owners now: of limits of the fleet, or of limits that the workers of this data plane
        share.

        Of all limits together as many keys as of one, or a turn would delay requests, and as many new limits; those
        that are quiet in several turns. Each limit is the first in turn.
        """
        asked = []
        found = [
            leased for leased in self._leased.values() if (leased.limit.mode is LimitMode.FLEET) == fleet
        ]
        self._turn += 1
        first = self._turn % len(found) if found else 0
        left = joining = MOST_WANTS
        quiet = max(_LEAST_QUIET, len(found) // _QUIET_TURNS)
        for leased in found[first:] + found[:first]:
            holder = leased.holder
            joins = holder.joining
            if not holder.active and not (joining if joins else quiet or holder.overdue(now)):
                continue
            ask = holder.ask(now, max(left, _LEAST_ASKED))
            if ask is None:
                continue
            asked.append((leased, ask))
            left -= len(ask.wants)
            if joins:
                joining = max(0, joining - 1)
            elif not ask.wants:
                quiet = max(0, quiet - 1)
        return asked

    def urgent_asks(self, now: float, fleet: bool) -> list[tuple[Leased, Ask]]:
        """Those that should not wait for the next turn: about keys that run low while their owners have tokens."""
        asked = []
        left = MOST_WANTS
        for leased in self._leased.values():
            if not leased.holder.urgent or (leased.limit.mode is LimitMode.FLEET) != fleet:
                continue
            ask = leased.holder.ask(now, max(left, _LEAST_ASKED))
            if ask is not None:
                asked.append((leased, ask))
                left -= len(ask.wants)
        return asked

    @property
    def urgent(self) -> bool:
        """Whether `urgent_asks` may have something to ask."""
        return any(leased.holder.urgent for leased in self._leased.values())

    @property
    def leases(self) -> bool:
        """Whether there is any limit whose owner must be asked."""
        return bool(self._leased)

    @property
    def joining(self) -> bool:
        """Whether there are limits whose owner has granted nothing yet."""
        return any(leased.holder.joining for leased in self._leased.values())

    @property
    def asking(self) -> bool:
        """Whether there is a question that must be asked as soon as possible."""
        if len(self._leased) > _LEAST_QUIET:
            # Some of them have their turn each time.
            return True
        return self.joining or any(leased.holder.active for leased in self._leased.values())

    def answer(self, name: str, key: str, answer: Answer, now: float) -> None:
        """The owner's answer about the limit of this name, with buckets by `key` (`leased.counts_by`). Epoch 0: no
        owner was reached."""
        leased = self._leased.get(name)
        if leased is None or leased.counts_by != key:
            return
        if answer.epoch:
            leased.holder.answer(answer, now)
        else:
            leased.holder.refused(answer.stamp)

    def succeed(self, shares: Mapping[tuple[str, str], Share], now: float) -> None:
        """Spend these shares of workers that ended, until owners answer. Call it before the first configuration."""
        self._shares = dict(shares)
        self._hand_out(now)

    def succeeds(self, now: float) -> bool:
        """Whether any of them may still be spent."""
        waiting = any(now < share.until for share in self._shares.values())
        return waiting or any(leased.succeeds(now) for leased in self._leased.values())

    def lost(self, fleet: bool) -> None:
        """The pending asks will not be answered."""
        for leased in self._leased.values():
            if (leased.limit.mode is LimitMode.FLEET) == fleet:
                leased.holder.lost()

    def tidy(self, now: float) -> None:
        """Forget unused keys; called about once a second."""
        for leased in self._leased.values():
            holder = leased.holder
            part = len(holder.holdings) // _TIDY_TURNS
            holder.tidy(now, min(max(_LEAST_TIDIED, part), _MOST_TIDIED))

    def end(self) -> None:
        """Admit no more requests from leased tokens: the owners consider this worker dead."""
        for leased in self._leased.values():
            leased.holder.end()

    def admitted(self) -> dict[str, float]:
        """Tokens taken by admitted requests, by leased limit."""
        return {name: leased.admitted for name, leased in self._leased.items()}

    def reset(self, key: str, revision: int = 0, now: float = 0.0) -> list[Limit]:
        """Refill the buckets of `key`, "subject:alice" or just "alice", in every limit; returns the limits that had one
        outside of Redis. The order has this `revision`."""
        found = []
        for counter in self._counters.values():
            had = _forget(counter, key, revision, now)
            if had and counter.limit.mode is not LimitMode.REDIS:
                found.append(counter.limit)
        return found

    def in_redis(self) -> list[Limit]:
        """The limits that are counted in Redis."""
        return [counter.limit for counter in self._counters.values() if isinstance(counter, InRedis)]

    def unanswered(self) -> dict[str, int]:
        """Requests since the last call that Redis did not answer in time, or was not asked for, by limit."""
        found = {}
        for counter in self._counters.values():
            if isinstance(counter, InRedis) and counter.unanswered:
                found[counter.limit.name], counter.unanswered = counter.unanswered, 0
        return found

    def away(self, now: float) -> list[str]:
        """The limits whose owner (a control plane, or Redis) does not answer."""
        found = []
        for name, counter in self._counters.items():
            if isinstance(counter, InRedis):
                away = counter.away
            else:
                away = (
                    isinstance(counter, Leased)
                    and counter.limit.mode is LimitMode.FLEET
                    and counter.away(now)
                )
            if away:
                found.append(name)
        return found

    def report(self, now: float, most: int = 100) -> list[BucketReport]:
        """Up to `most` keys, the emptiest first, out of those lately refused and the newest: some of each limit, if
        there are not too many limits."""
        steps = self.survey(now, most)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: list[BucketReport] = end.value
                return found

    def survey(self, now: float, most: int = 100) -> Generator[None, None, list[BucketReport]]:
        """`report` in steps, between which requests may be served and limits may change."""
        return self._reports.survey(now, most)

    def _hand_out(self, now: float) -> None:
        """Give limits the shares of predecessors."""
        for leased in self._leased.values():
            share = self._shares.pop((leased.limit.name, leased.counts_by), None)
            if share is not None and leased.holder.limit.shared and leased.limit.mode is LimitMode.FLEET:
                self._runs += 1
                leased.succeed(share, now, self._runs)

    def _make(self, limit: Limit) -> Counter:
        leased = terms(limit, self._workers)
        made: Counter
        if leased is not None:
            self._runs += 1
            made = self._leased[limit.name] = Leased(limit, leased, self._woken, self._runs)
        elif not limit.per_second:
            made = Unlimited(limit)
        elif limit.mode is not LimitMode.REDIS:
            made = Buckets(limit, self.share, self._room)
        elif limit.on_store_failure is StoreFailure.LOCAL:
            made = InRedis(limit, Buckets(limit, self.share, self._room))
        else:
            made = InRedis(limit, Unlimited(limit))
        self._counters[limit.name] = made
        return made

    def _drop(self, name: str) -> None:
        self._reports.retire(self._counters.pop(name).leave())
        self._leased.pop(name, None)

    def _owner_of(self, limit: Limit) -> str:
        if terms(limit, self._workers) is None:
            return "worker"
        return "fleet" if limit.mode is LimitMode.FLEET else "node"

    def _woken(self) -> None:
        self.wake()


def _nothing() -> None:
    return


def _lacking(counter: Counter, share: float, now: float) -> list[tuple[str, float]]:
    """Tokens missing from this worker's `share` of each bucket."""
    if isinstance(counter, Leased):
        found = counter.lacking(share, now, _MOST_CARRIED)
    else:
        rate = counter.limit.per_second * share
        found = [(key, counter.missing(key, now) * rate) for key in islice(counter.keys(), _MOST_CARRIED)]
    return [(key, tokens) for key, tokens in found if tokens > 0]


def _identity(limit: Limit) -> tuple[object, ...]:
    """The settings that determine a limit's keys: a limit with another identity has other keys."""
    return limit.key, limit.header, limit.address_prefix


def _carries(before: Limit, after: Limit) -> bool:
    return _identity(before) == _identity(after) and _kind(before) == _kind(after)


def _kind(limit: Limit) -> tuple[object, ...]:
    """The settings that determine a limit's counter, apart from the owner of the buckets. Replacing the counter of a
    limit in Redis loses nothing."""
    if limit.mode is LimitMode.REDIS:
        return limit.per_second > 0, limit.on_store_failure
    return (limit.per_second > 0,)


def _forget(counter: Counter, key: str, revision: int, now: float) -> bool:
    prefix = label(counter.limit, "")
    names = {key, short(key)}
    if key.startswith(prefix):
        value = key[len(prefix) :]
        # Of several parts only the parts are shortened.
        names |= {value, short(value)}
    found = isinstance(counter, Leased) and any(counter.lacks(name, now) for name in names)
    found |= sum(counter.forget(name) for name in names) > 0
    if revision and isinstance(counter, Leased):
        # Makes one where there was none.
        for name in names:
            counter.reset(name, revision, now)
    return found
