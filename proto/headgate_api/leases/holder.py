"""A holder's end of one limit: its starter, and a holding for each key from which it has spent tokens.

A request calls `holdings.get(key)`, or `open`, and then `Holding.take`. Nothing else is on the request path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from itertools import islice
from typing import Final

from headgate_api.leases.holding import Holding
from headgate_api.leases.messages import ASKING, LEASE, MOST_WANTS, SKEW, Answer, Ask, Limit, WithoutOwner

JOINING: Final = 20
"""The number of asks for a first starter without a longer pause."""
_REMEMBERED: Final = 10
"""One in so many of the keys that a holder may have is remembered after it was forgotten."""
OVERFLOW: Final = "…"
"""The key that new ones share when there are too many."""


class Holder:
    """One worker's part of one limit."""

    __slots__ = (
        "_answered", "_asked", "_epoch", "_gained", "_gained_at", "_joining", "_lacking",
        "_old_starter", "_old_until", "_pace", "_stamp", "_turn",
        "active",
        "away_from", "holdings", "limit", "most", "run", "starter", "until", "urgent", "wake",
    )  # fmt: skip

    def __init__(
        self, limit: Limit, most: int = 100_000, wake: Callable[[], None] = lambda: None, run: int = 0
    ) -> None:
        """`wake` is called when an ask becomes due after a time without any. `run`: as in Ask."""
        self.limit = limit
        self.wake = wake
        self.run = run
        self.most = most
        """The maximum of keys with their own holding; further keys share one."""
        self._pace = 0.0
        """Tokens a second that a holding gains while this holder is away."""
        self.holdings: dict[str, Holding] = {}
        self.active: dict[str, Holding] = {}
        """Holdings to report to the owner: they may be above the starter, or run low."""
        self.urgent: dict[str, Holding] = {}
        """Those that run low while the owner has tokens, as far as is known: to be asked about before the others."""
        self.starter: float = 0
        """Tokens of each key without a holding."""
        self.until = -math.inf
        """When the starter lapses."""
        self._joining = JOINING
        self._lacking: dict[str, float] = {}
        """Keys that were forgotten although their bucket was not full, and until when it may not be."""
        self._old_starter: float = 0
        self._old_until = -math.inf
        """An earlier, higher starter, and the time until which a holding may still be based on it."""
        self._epoch = 0
        self._stamp = -math.inf
        """Of the newest ask."""
        self._turn = -math.inf
        """Of the newest ask about all that was due."""
        self._answered = -math.inf
        """Stamp of the last ask whose answer was used."""
        self.away_from = -math.inf
        """The time from which `Limit.without_owner` applies, unless an answer arrives before."""
        self._asked: tuple[Holding, ...] | None = None
        """The holdings in the ask that is under way; None if none is."""
        self._gained = 0.0
        self._gained_at = -math.inf
        """The sum of tokens that each holding may have gained while this holder was away; and the time up to which it
        is computed."""

    def open(self, key: str, now: float) -> Holding:
        """The holding of a `key` without one: a starter; that of OVERFLOW if there are too many."""
        if len(self.holdings) >= self.most:
            key = OVERFLOW
            if (shared := self.holdings.get(key)) is not None:
                return shared
        holding = self.holdings[key] = Holding(self, key, now)
        return holding

    def overdraw(self, key: str, cost: float, now: float) -> None:
        """Spend `cost` tokens that are known only after the response, even if there are fewer."""
        (self.holdings.get(key) or self.open(key, now)).overdraw(cost, now)

    def admits_everything(self, now: float) -> bool:
        """Whether it is away and admits everything."""
        return self.limit.without_owner is WithoutOwner.OPEN and not now < self.away_from

    def pace(self, now: float) -> float:
        """Tokens a second that a holding gains now because this holder is away; 0 otherwise."""
        return self._pace / SKEW if self.away_from <= now < self.until else 0.0

    def gained(self, now: float) -> float:
        """The sum of tokens that a holding has gained while this holder was away. Only differences are meaningful."""
        since = max(self._gained_at, self.away_from)
        if now > since:
            if self._pace:
                self._gained += self._pace / SKEW * (now - since)
            self._gained_at = now
        return self._gained

    def ask(self, now: float, most: int = MOST_WANTS) -> Ask | None:
        """The ask to send to the owner about up to `most` keys; None if none is due yet. Call it whenever `active` has
        grown, and again later if it returns None."""
        if now <= self._stamp or (self._asked is not None and now < self._stamp + LEASE):
            # Answers are matched by the stamp: after `lost`, a second ask with it would use the answer to the first.
            return None
        if now < self._turn + ASKING:
            if not self.urgent:
                return None
            due = tuple(islice(self.urgent.values(), most))
        else:
            due = self._due(now, most)
            if not due and now < self._stamp + LEASE / 4 and not self.joining:
                return None
            self._turn = now
            self._joining -= 1
        self.lost()
        starter: float = 0
        if now < self.until:
            starter = max(self.starter, self._old_starter) if now < self._old_until else self.starter
        self._asked, self._stamp = due, now
        return Ask(now, self._answered, int(starter), tuple(holding.want(now) for holding in due), self.run)

    def forget(self, key: str, pool: float, now: float) -> None:
        """The owner counts a starter for `key`, and has so many more tokens."""
        self.holdings.pop(key, None)
        self.active.pop(key, None)
        self._lacking.pop(key, None)
        lacking = self.limit.burst - self.starter - pool
        if lacking > 0:
            self._lacking[key] = now + lacking / self.limit.rate
            if len(self._lacking) > self.most // _REMEMBERED:
                del self._lacking[next(iter(self._lacking))]

    def lacks(self, key: str, now: float) -> bool:
        """Whether the bucket of `key` may not be full, as far as is known here."""
        return key in self.holdings or now < self._lacking.get(key, -math.inf)

    def hurry(self, holding: Holding, now: float) -> None:
        """`holding` runs low. While this holder is away, asks at the usual pace are enough to find an owner."""
        if now < self.away_from:
            self.urgent[holding.key] = holding
            self.wake()

    def twin(self, key: str) -> Holder:
        """A holder that answers for `key` as this one would now, asks no owner, and shares nothing with it."""
        twin = copy(self)
        twin.wake = _nothing
        twin.active, twin.urgent, twin._lacking, twin._asked = {}, {}, {}, None
        full = len(self.holdings) >= self.most
        twin.most = 0 if full else self.most
        kept = (self.holdings.get(name) for name in (key, OVERFLOW))
        twin.holdings = {one.key: one.twin(twin) for one in kept if one is not None}
        return twin

    def overdue(self, now: float) -> bool:
        """Whether asks have waited so long that a later one might let the owner treat this holder as silent."""
        return now >= self._stamp + LEASE / 2

    @property
    def joining(self) -> bool:
        """Whether it has just started and waits for a starter: then it asks as often as allowed."""
        return self._joining > 0 and not self.starter

    def adopt(self, limit: Limit) -> None:
        """The limit has changed. The owner's last terms stay valid until it sends others."""
        self.limit = limit

    def end(self) -> None:
        """No tokens may be spent from now on: the owner knows, or will detect, that this holder has ended."""
        self.starter, self.until, self.away_from = 0, -math.inf, math.inf
        self.holdings.clear()
        self.active.clear()
        self.urgent.clear()
        self.lost()

    def refused(self, stamp: float) -> None:
        """The ask with `stamp` will not be answered, and the owner has not seen it."""
        if stamp == self._stamp:
            self.lost()

    def lost(self) -> None:
        """The stream broke, or was silent for LEASE: the answer to the ask under way will not be used."""
        for holding in self._asked or ():
            holding.asked = False
        self._asked = None

    def answer(self, answer: Answer, now: float) -> None:
        """Use an answer, unless it is late, from an earlier owner, or not for the ask under way.

        Epochs restart when the store is replaced. A lower epoch is therefore accepted if only this owner answers: no
        other owner has answered for so long that all its grants have lapsed, and claims already fence owners.
        """
        asked = self._asked
        if (
            asked is None
            or len(asked) != len(answer.grants)
            or answer.stamp != self._stamp
            or (answer.epoch < self._epoch and now < self.away_from)
        ):
            return
        if now >= self._stamp + LEASE:
            return
        self.gained(now)
        for key in answer.drained:
            if key not in self.holdings:
                self.holdings[key] = Holding(self, key, now)
        self._pace = answer.pace
        self._asked, self._answered, self._epoch = None, answer.stamp, answer.epoch
        self.away_from = now + LEASE * SKEW
        if answer.starter < self.starter:
            # A still higher starter may have been lowered and raised again recently.
            self._old_starter = max(self.starter, self._old_starter if now < self._old_until else 0)
            self._old_until = now + LEASE
        self.starter = answer.starter
        self.until = answer.stamp + answer.lease
        for holding, grant in zip(asked, answer.grants, strict=True):
            holding.grant(grant, answer.stamp, now)

    def tidy(self, now: float, most: int = 100) -> None:
        """Schedule asks about up to `most` unused holdings, so that they can be dropped."""
        for holding in list(islice(self.holdings.values(), most)):
            holding.idle(now)

    def _due(self, now: float, most: int) -> tuple[Holding, ...]:
        """The holdings to ask about, up to `most`. They move to the end of the queue."""
        active = self.active
        if len(active) <= most:
            return tuple(holding for holding in active.values() if now >= holding.due)
        looked_at = list(islice(active.items(), most))
        for key, holding in looked_at:
            del active[key]
            active[key] = holding
        return tuple(holding for _, holding in looked_at if now >= holding.due)


def _nothing() -> None:
    return
