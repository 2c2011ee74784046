"""A holder that spends the share of one that ended while no owner answered.

To the owner the former holder is silent: it reserves that holder's starter of each key, and its growth, until the
starter lapses. Its successor may spend them, but nothing twice: the former holder may have spent all its tokens. So
each key begins empty, and grows from the start on. The successor asks as a new holder, and drops the share as soon as
it has a starter of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from headgate_api.leases.holder import JOINING, Holder
from headgate_api.leases.holding import Holding
from headgate_api.leases.messages import LEASE, MOST_WANTS, Answer, Ask, Limit

_PATIENCE: Final = JOINING
"""Answers without a starter after which the share is dropped nevertheless: grants may serve better."""


class Share(NamedTuple):
    """The terms in the last answer to a holder."""

    starter: int
    """Tokens of each key, at most."""
    pace: float
    """Tokens a second that each key gains, above 0."""
    until: float
    """When the starter lapses: seconds of the clock that all processes of this boot share."""


class Successor(Holder):
    """A new holder with the share of a former one."""

    __slots__ = ("_answers", "_share")

    def __init__(
        self,
        limit: Limit,
        share: Share,
        now: float,
        most: int = 100_000,
        wake: Callable[[], None] = lambda: None,
        run: int = 0,
    ) -> None:
        """The former holder ended before `now`, and was away."""
        super().__init__(limit, most, wake, run)
        self._share: Share | None = share
        self._answers = 0
        self._pace, self.until = share.pace, share.until
        self.away_from = now

    def inherits(self, now: float) -> bool:
        """Whether the share may still be spent."""
        return self._share is not None and now < self.until

    def open(self, key: str, now: float) -> Holding:
        """As Holder.open, with the tokens that a key has gained since the start."""
        self.gained(now)
        holding = super().open(key, now)
        if self._share is not None:
            # The owner's pool is out of reach.
            holding.pool = 0.0
        return holding

    def ask(self, now: float, most: int = MOST_WANTS) -> Ask | None:
        """As Holder.ask. As long as there is a share, the ask states nothing: the owner must not mix it up with the
        tokens of the new holder."""
        if self._share is None:
            return super().ask(now, most)
        self.urgent.clear()
        ask = super().ask(now, 0)
        return None if ask is None else replace(ask, starter=0)

    def answer(self, answer: Answer, now: float) -> None:
        """As Holder.answer. Answers without a starter leave the share in use."""
        if self._share is not None and self._asked is not None and answer.stamp == self._stamp:
            if now >= self._stamp + LEASE:
                return
            self._answers += 1
            if not answer.starter and not answer.drained and self._answers < _PATIENCE:
                self._asked, self._answered = None, answer.stamp
                return
            self._drop()
        super().answer(answer, now)

    def gained(self, now: float) -> float:
        """As Holder.gained. A key that was not used since the start has gained the same."""
        gained = super().gained(now)
        if self._share is not None:
            self.starter = min(self._share.starter, gained)
        return gained

    def _drop(self) -> None:
        """End the use of the share. Overdrafts, and orders to reset, are the new holder's from now on."""
        kept = [holding for holding in self.holdings.values() if holding.owes]
        for table in (self.holdings, self.active, self.urgent):
            table.clear()
        self._share, self.starter, self._pace, self._joining = None, 0, 0.0, JOINING
        for holding in kept:
            holding.empty()
            self.holdings[holding.key] = self.active[holding.key] = holding
