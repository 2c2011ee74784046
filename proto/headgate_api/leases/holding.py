"""The tokens of one key that a holder may spend."""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Final

from headgate_api.leases.messages import ASKING, LEASE, Grant, Want

if TYPE_CHECKING:
    from headgate_api.leases.holder import Holder

AHEAD: Final = 1.5
"""The number of ask intervals for which a holding should last at the current demand."""
IDLE: Final = 1.0
"""Seconds between two asks for an unused key."""
SPREAD: Final = 3.0
"""Standard deviations of that demand (a Poisson process) that a holding should also cover."""
SPARE: Final = 3
"""Additional tokens, for a demand that is too small to estimate."""
GONE: Final = 0.05
"""Tokens between two asks, at the mean demand, below which a key counts as unused."""
MEMORY: Final = 0.2
"""Weight of the demand since the last ask in the mean."""
LOW: Final = 0.25
"""Part of a holding that is left when the owner is asked before the usual time. A demand that stays as it was leaves
more."""


class Holding:
    """The tokens of one key, and the demand for them."""

    __slots__ = (
        "_basis", "_credit", "_cycle", "_demand", "_holder", "_refused", "_reset", "_seen", "_since", "_target",
        "_told", "_wants", "asked", "due", "key", "low", "pool", "tokens", "until",
    )  # fmt: skip

    def __init__(self, holder: Holder, key: str, now: float) -> None:
        self._holder = holder
        self.key = key
        self.tokens = float(holder.starter)
        """Tokens that may be spent before `until`; below 0 after an overdraft."""
        self.until = min(now + LEASE, holder.until, max(now, holder.away_from))
        """The time when the part above the starter lapses, or the starter must be checked again."""
        self.low = max(0.5, self.tokens / 2)
        """The owner is asked as soon as may be when less is left; 0 while it is asked anyway, or has no more."""
        self._seen = holder.gained(now)
        """The value of `Holder.gained` that is included in `tokens`."""
        self._target = math.inf
        """The owner's target for this holding."""
        self._wants = 0.0
        """The wanted amount in the last ask."""
        self.pool = math.inf
        """Tokens in the owner's pool, as of the last answer; infinite: unknown. Below 1 none are granted for a
        while."""
        self.asked = False
        """Whether the ask under way states the held tokens, which must not grow meanwhile."""
        self.due = now
        """When to ask again."""
        self._basis = self.tokens
        """`tokens` at the last ask, plus grants and gains since: the difference has been spent."""
        self._credit = 0.0
        """Tokens taken before then and given back: they return to the owner with the next ask."""
        self._refused = 0.0
        """Tokens refused since then."""
        self._reset = 0
        """Revision of an order to refill the bucket that the owner has not answered yet."""
        self._told = 0
        """The one in the last ask."""
        self._since = now
        """When that was."""
        self._demand = 0.0
        """Demand in tokens a second, including refused requests."""
        self._cycle = ASKING
        """Seconds from ask to ask."""

    def take(self, cost: float, now: float) -> bool:
        """Spend `cost` tokens, above 0; returns whether there were enough. Only `tokens` changes while at least `low`
        is left, and before `until`."""
        left = self.tokens - cost
        if left >= self.low and now < self.until:
            self.tokens = left
            return True
        low = self.low
        self._renew(now)
        self._activate(now)
        holder = self._holder
        if low > 0 and left < low:
            self.low, self.due = 0.0, min(self.due, now)
            holder.hurry(self, now)
        if self.tokens >= cost and now < holder.until:
            self.tokens -= cost
            return True
        self._refused += cost
        self.due = min(self.due, now)
        return holder.admits_everything(now)

    def twin(self, holder: Holder) -> Holding:
        """A copy that belongs to `holder`."""
        twin = copy(self)
        twin._holder = holder
        return twin

    def refund(self, cost: float, now: float) -> None:
        """Undo a `take`, or a part of it: another limit refused, or the request has cost less. Tokens taken before the
        last ask are no longer in a record, and return to the owner."""
        here = max(0.0, min(cost, self._basis - self.tokens))
        self.tokens += here
        if cost > here:
            self._activate(now)
            self._credit += cost - here

    def overdraw(self, cost: float, now: float) -> None:
        """As `Holder.overdraw`, which also works if the holding was dropped since the request."""
        self._renew(now)
        self._activate(now)
        self.tokens -= cost

    def reset(self, revision: int, now: float) -> None:
        """An operator's order, with this revision, to refill the bucket: the owner carries it out once."""
        self._activate(now)
        self._reset, self.due = revision, now

    @property
    def owes(self) -> bool:
        """Whether the owner must learn of it even if it holds nothing: an overdraft, or an order to refill."""
        return self.tokens < 0 or self._reset > 0

    def empty(self) -> None:
        """Drop its tokens; an overdraft stays."""
        self.tokens = self._basis = min(0.0, self.tokens)

    def want(self, now: float) -> Want:
        """The part of an ask about this key. Returned tokens are no longer held."""
        self._renew(now)
        starter = self._holder.starter
        elapsed = max(now - self._since, ASKING / 2)
        spent = self._basis - self.tokens
        asked_for = spent + self._refused
        self._cycle += MEMORY * (min(max(elapsed, ASKING), IDLE) - self._cycle)
        recent = asked_for / elapsed
        self._demand += MEMORY * (recent - self._demand)
        mean = max(recent, self._demand) * self._cycle
        if asked_for == 0 and mean < GONE:
            self._demand = mean = 0.0
        ahead = mean * AHEAD + SPREAD * math.sqrt(mean) + (SPARE if mean else 0)
        wants = float(max(starter, math.ceil(ahead)))
        back = max(0.0, self.tokens - min(wants, max(self._target, starter)))
        self.tokens -= back
        self.asked = True
        self.low, self._wants = 0.0, wants
        self._holder.urgent.pop(self.key, None)
        self._basis, self._refused, self._since = self.tokens, 0.0, now
        credit, self._credit = self._credit, 0.0
        self._told = self._reset
        # The amount that counts as spent within LEASE: without earlier inflow.
        said = max(0.0, spent - self._holder.limit.rate * max(0.0, elapsed - LEASE))
        return Want(self.key, self.tokens, back, wants, credit, said, self._reset)

    def grant(self, grant: Grant, stamp: float, now: float) -> None:
        """The answer to the ask with `stamp` has arrived."""
        # Tokens that lapsed meanwhile are no longer held: the owner may have granted them to others.
        self._lapse(now)
        self.asked = False
        self._seen = self._holder.gained(now)
        self._add(grant.tokens)
        self._target, self.pool = grant.target, grant.pool
        self.until = stamp + LEASE
        holder = self._holder
        if self._reset == self._told:
            self._reset = 0
        if self._credit or self._reset:
            self.due = now
        elif grant.forget and self.tokens >= holder.starter:
            holder.forget(self.key, grant.pool, now)
        elif self._demand > 0 or self._refused > 0 or self.tokens > holder.starter:
            self.due = now
            if grant.target >= self._wants and grant.pool >= 1:
                self.low = self.tokens * LOW
        elif self.tokens >= holder.starter / 2 > 0:
            holder.active.pop(self.key, None)
            self.low = holder.starter / 2
        else:
            self.due = now + IDLE

    def idle(self, now: float) -> None:
        """Ask about this key soon if it is unused, and move it to the end of the queue of such keys."""
        holdings = self._holder.holdings
        holdings[self.key] = holdings.pop(self.key)
        if now >= self._since + 10 * IDLE:
            self._activate(now)

    def _renew(self, now: float) -> None:
        """Remove lapsed tokens, and add the gain of a holder that is away."""
        self._lapse(now)
        holder = self._holder
        gained = holder.gained(now)
        if gained > self._seen and not self.asked:
            self._add(max(0.0, min(holder.starter - self.tokens, gained - self._seen)))
        self._seen = gained

    def _lapse(self, now: float) -> None:
        """Cut what has lapsed."""
        holder = self._holder
        if now >= self.until:
            self._add(min(0.0, (holder.starter if now < holder.until else 0) - self.tokens))
            # Gains while away must be computed before each request, up to a starter.
            self.until = min(now + LEASE, holder.until, max(now, holder.away_from))

    def _add(self, tokens: float) -> None:
        self.tokens += tokens
        self._basis += tokens

    def _activate(self, now: float) -> None:
        if self.key not in self._holder.active:
            if not self._holder.active:
                self._holder.wake()
            self._holder.active[self.key] = self
            self.low = 0.0
            self.due = now
            if now > self._since + IDLE:
                # Spending over a long time does not indicate the current rate.
                self._basis, self._refused, self._since = self.tokens, 0.0, now
