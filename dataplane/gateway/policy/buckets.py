"""One rate limit's token buckets: one float per key, by the generic cell rate algorithm (ITU-T I.371, annex A).

A bucket holds up to `burst` tokens; a request takes `cost` of them. Time is measured in tokens: `flowed` is how many
have flowed into every bucket until now. A bucket's whole state is *at which flow it will be full* (GCRA's theoretical
arrival time): until then `full_at - flowed` tokens are missing, afterwards none. So a change of the rate bends the flow
and concerns no bucket, and a full bucket needs no entry.

Memory is bounded without scanning. Keys are kept in generations, by when they were last used; once all buckets of the
oldest one are full, each new key drops some of them. When there is no room for a new key before that, buckets of the
oldest generation are dropped that could serve a request anyway. A bucket that refuses is never forgotten: when nothing
else is left, new keys of a limit share one bucket (`OVERFLOW`). A reserve keeps room for the first keys of each limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.resources import Limit

_SLACK: Final = 1e-3
"""Share of a token that a request may lack: rounding errors must not cost a caller the last token."""
_SWEPT: Final = 8
"""Old buckets looked at, at most, to find room for one new key."""
_STEADY: Final = 256
"""Times that room is made in the same limit before the largest one is looked for again."""
_IN_VAIN: Final = 32
"""Times that no room is made before the largest is looked for again, once even that had none."""
_RESERVE: Final = 10
"""Each limit may keep one key in this many beyond the common capacity, so that no single limit takes all of it."""
_GENERATIONS: Final = 6
"""A generation is full when it holds one in this many of the common capacity (a million keys, the size of its
table)."""
_MOST_REFUSED: Final = 40_000
_LEAST_REFUSED: Final = 100
"""Recently refused keys in a generation, of all limits together, and at least of each: reports show some hundred."""
OVERFLOW: Final = "…"
"""The key that new ones share when there is room for none."""
_TWIN_KEYS: Final = 100
"""Room for keys in a twin, which has one or two."""


class Room:
    """The number of keys that all limits of a worker may keep together."""

    __slots__ = ("_largest", "_times", "_vain", "all", "generation", "most", "refused", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.generation = max(1, most // _GENERATIONS)
        """Keys of a generation that is full."""
        self.refused = _MOST_REFUSED
        """Recently refused keys in a generation, in each limit."""
        self.all: list[Buckets] = []
        self._largest: Buckets | None = None
        self._times = self._vain = 0

    def join(self, buckets: Buckets) -> None:
        """Count one more limit."""
        self.all.append(buckets)
        self.used += _size(buckets)
        self.refused = max(_LEAST_REFUSED, _MOST_REFUSED // len(self.all))

    def make(self, asking: Buckets, now: float) -> bool:
        """Make room for one more key of `asking`; False if none is free.

        It comes from the limit that has most keys, from the reserve, or from another key of `asking`.
        """
        if not self.all:
            return False
        return self._drop(now) or self._spares(asking) or (asking is not self._largest and asking.sweep(now))

    def _drop(self, now: float) -> bool:
        """Drop a key of the limit that has most of them; whether one could be spared."""
        largest = self._largest
        if largest is not None and self._times > 0:
            self._times -= 1
            if largest.sweep(now):
                self._vain = 0
                return True
            if self._vain > 0:
                self._vain -= 1
                return False
        largest = self._largest = max(self.all, key=_size)
        self._times = _STEADY
        made = largest.sweep(now)
        self._vain = 0 if made else _IN_VAIN
        return made

    def _spares(self, asking: Buckets) -> bool:
        """Whether the reserve has room for a limit with few keys: other limits must not use that up."""
        reserve = self.most // _RESERVE
        return self.used < self.most + reserve and asking.size() < reserve // len(self.all)

    def leave(self, buckets: Buckets) -> None:
        """A limit is gone, and its keys with it."""
        self.all.remove(buckets)
        self.used -= _size(buckets)
        self.refused = max(_LEAST_REFUSED, _MOST_REFUSED // max(1, len(self.all)))
        self._largest = None


class Buckets(Counter):
    """The buckets of one limit, in this worker."""

    __slots__ = (
        "_burst",
        "_cost",
        "_deepest",
        "_depth",
        "_ends",
        "_flow",
        "_forgave",
        "_former",
        "_rate",
        "_refused",
        "_refused_old",
        "_roll_at",
        "_room",
        "_share",
        "_since",
        "older",
        "young",
    )

    def __init__(self, limit: Limit, share: float, room: Room) -> None:
        """`share` is this worker's part of the limit, above 0 and at most 1."""
        self._share = share
        self._room = room
        self.young: dict[str, float] = {}
        """The flow at which the bucket is full, by key: the youngest generation."""
        self.older: list[dict[str, float]] = []
        """The generations before, the oldest last. No key is in two of them."""
        self._ends: list[float] = []
        """The flow at which all buckets of each are full."""
        self._refused: dict[str, int] = {}
        self._refused_old: dict[str, int] = {}
        self._flow = self._since = 0.0
        """The flow so far, and the time of that reading."""
        self._roll_at = self._deepest = -1e300
        """The flow at which the next generation begins, and the flow from which on no bucket lacks more than
        `burst`."""
        self._former = 0.0
        """The largest `burst` since then."""
        self._forgave = False
        """Whether any key's debt was reduced since then because a smaller bucket cannot lack that much."""
        self._measure(limit)
        room.join(self)

    def _measure(self, limit: Limit) -> None:
        self.limit = limit
        self._rate = limit.per_second * self._share
        self._cost = float(limit.cost)
        # A share too small for one request would let nothing through.
        self._burst = max(self._cost, limit.burst * self._share)
        self._depth = self._burst + _SLACK

    def take(self, key: str, now: float) -> float:
        flowed = self._flow + (now - self._since) * self._rate
        full_at = self.young.get(key)
        if full_at is None:
            full_at = self._bring(key, flowed, now)
            if full_at is None:
                key, full_at = OVERFLOW, self._shared(flowed)
        if full_at < flowed:
            full_at = flowed
        full_at += self._cost
        if full_at - flowed > self._depth:
            return self._refuse(key, full_at - self._cost, flowed)
        self.young[key] = full_at
        return 0.0

    def give_back(self, key: str, tokens: float, now: float) -> None:
        key, full_at = self._find(key)
        if full_at is not None:
            self.young[key] = full_at - tokens

    def charge(self, key: str, tokens: float, now: float) -> None:
        flowed = self._flow + (now - self._since) * self._rate
        key, full_at = self._find(key)
        if full_at is None:
            # It was full, and has been forgotten.
            full_at = self._bring(key, flowed, now)
            if full_at is None:
                key, full_at = OVERFLOW, self._shared(flowed)
        full_at = max(full_at, flowed) + tokens
        self.young[key] = full_at
        self._deepest = max(self._deepest, full_at)

    def adopt(self, limit: Limit, now: float) -> None:
        """Go on with new settings. Each key lacks as many tokens as before, but no more than the new bucket holds."""
        flowed, before = self._flow + (now - self._since) * self._rate, self._burst
        if flowed < self._deepest:
            self._former = max(self._former, before)
        else:
            self._former, self._forgave = before, False
        self._deepest = max(self._deepest, flowed + before)
        self._measure(limit)
        if self._forgave and self._burst > before:
            # The debt of keys was reduced to what the smaller bucket could lack. When the bucket grows again, they
            # lack the difference too.
            flowed -= max(0.0, min(self._burst, self._former) - before)
            self._forgave = self._burst < self._former
        self._flow, self._since = flowed, now

    def remaining(self, key: str, now: float) -> float:
        return max(0.0, self._burst - self._lacking(key, now))

    def missing(self, key: str, now: float) -> float:
        return self._lacking(key, now) / self._rate

    def refused(self, key: str) -> int:
        return self._refused.get(key, 0) or self._refused_old.get(key, 0)

    def forget(self, key: str) -> bool:
        self._refused.pop(key, None)
        self._refused_old.pop(key, None)
        found = self.young.pop(key, None) is not None or self._from_older(key) is not None
        if found:
            self._room.used -= 1
        return found

    def keys(self) -> Iterator[str]:
        seen: set[str] = set()
        for table in (self._refused, self._refused_old):
            for key in reversed(table):
                if key not in seen and self._state(key) is not None:
                    seen.add(key)
                    yield key
        for generation in (self.young, *self.older):
            for key in reversed(generation):
                if key not in seen:
                    yield key

    def leave(self) -> list[dict[str, Any]]:
        self._room.leave(self)
        # Responses under way may still be charged here, which from now on takes no room from others. The new room does
        # not refer to these buckets: cyclic references are freed only by a full collection, so late or never.
        self._room = Room(self._room.most)
        left: list[dict[str, Any]] = [self.young, *self.older]
        self.young, self.older, self._ends = {}, [], []
        return left

    def twin(self, key: str, now: float) -> Counter:
        twin = Buckets(self.limit, self._share, Room(_TWIN_KEYS))
        twin._flow, twin._since = self._flow, self._since
        full_at = self._state(key)
        if full_at is None and self._room.used >= self._room.most:
            full_at = self._state(OVERFLOW)
        if full_at is not None:
            twin.young[key] = full_at
        return twin

    def sweep(self, now: float) -> bool:
        """Drop an old bucket that could serve a request; whether there was one among the first that were looked at."""
        flowed = self._flow + (now - self._since) * self._rate
        if not self.older:
            self._roll(flowed)
        for _ in range(_SWEPT):
            while self.older and not self.older[-1]:
                del self.older[-1], self._ends[-1]
            if not self.older:
                return False
            key, full_at = self.older[-1].popitem()
            if full_at + self._cost - flowed <= self._depth:
                self._refused.pop(key, None)
                self._refused_old.pop(key, None)
                self._room.used -= 1
                return True
            self.young[key] = full_at
        return False

    def size(self) -> int:
        """Number of keys."""
        return len(self.young) + sum(map(len, self.older))

    # --- inside

    def _bring(self, key: str, flowed: float, now: float) -> float | None:
        """The state of a key about to join the young generation; None if there is no room for it."""
        if len(self.young) >= self._room.generation or (
            flowed >= self._roll_at and len(self.older) < _GENERATIONS
        ):
            self._roll(flowed)
        if self._ends and flowed >= self._ends[-1]:
            self._drop_some()
        full_at = self._from_older(key)
        if full_at is not None:
            return full_at
        room = self._room
        if room.used >= room.most and not room.make(self, now):
            return None
        room.used += 1
        return flowed

    def _shared(self, flowed: float) -> float:
        """The state of the bucket that new keys share, about to join the young generation."""
        full_at = self.young.get(OVERFLOW)
        if full_at is None:
            full_at = self._from_older(OVERFLOW)
            if full_at is None:
                self._room.used += 1
                full_at = flowed
        return full_at

    def _roll(self, flowed: float) -> None:
        """Begin a new generation."""
        if flowed >= self._roll_at:
            self._refused_old, self._refused = self._refused, {}
        if self.young:
            self.older.insert(0, self.young)
            self._ends.insert(0, max(flowed + self._burst, self._deepest))
            self.young = {}
        self._roll_at = flowed + self._burst

    def _drop_some(self) -> None:
        """All buckets of the oldest generation are full: drop some. Dropping a large one in one step would take too
        long."""
        oldest = self.older[-1]
        for _ in range(min(_SWEPT, len(oldest))):
            key = oldest.popitem()[0]
            self._refused.pop(key, None)
            self._refused_old.pop(key, None)
            self._room.used -= 1
        if not oldest:
            del self.older[-1], self._ends[-1]

    def _refuse(self, key: str, full_at: float, flowed: float) -> float:
        """Count a refusal of `key`, whose bucket is full at `full_at`; returns the seconds until it may pass."""
        if len(self._refused) >= self._room.refused:
            self._refused_old, self._refused = self._refused, {}
        self._refused[key] = self.refused(key) + 1
        self._refused_old.pop(key, None)
        if full_at - flowed > self._burst and not self.limit.cost_header:
            # It lacks more than the bucket holds since the limit was changed: that part is forgiven.
            full_at = flowed + self._burst
            self._forgave = True
        self.young[key] = full_at
        return (full_at + self._cost - self._burst - flowed) / self._rate

    def _find(self, key: str) -> tuple[str, float | None]:
        """The key under which a request of `key` was counted, about to join the young generation, and its state."""
        for name in (key, OVERFLOW):
            full_at = self.young.get(name)
            if full_at is None:
                full_at = self._from_older(name)
            if full_at is not None:
                return name, full_at
        return key, None

    def _from_older(self, key: str) -> float | None:
        """Take a key out of the generation that it is in."""
        for generation in self.older:
            full_at = generation.pop(key, None)
            if full_at is not None:
                return full_at
        return None

    def _state(self, key: str) -> float | None:
        for generation in (self.young, *self.older):
            full_at = generation.get(key)
            if full_at is not None:
                return full_at
        return None

    def _lacking(self, key: str, now: float) -> float:
        full_at = self._state(key)
        if full_at is None:
            return 0.0
        return max(0.0, full_at - self._flow - (now - self._since) * self._rate)


def _size(buckets: Buckets) -> int:
    return buckets.size()
