"""The owner's account of one key: its pool, and a record of the tokens that each holder may spend.

    pool + starters + Σ excess ≤ burst        excess: the part of a holding above the holder's starter

The pool gains `rate` tokens a second as long as this stays true, and a holding gains only tokens from the pool. So in
any window at most `burst + rate · T` is admitted, as long as no holding exceeds its book and its starter.
"""

from __future__ import annotations

import math

from headgate_api.leases.messages import ASKING, LEASE, SKEW, Ask, Grant, Want
from headgate_api.leases.roll import Member, Roll


class Book:
    """The tokens of the key that one holder may spend."""

    __slots__ = ("carry", "excess", "granted", "left", "run", "stamp", "target", "tokens", "until", "wants")

    def __init__(self, want: Want, stamp: float, run: int, until: float, carry: float) -> None:
        self.tokens = self.left = max(0.0, want.holds)
        """An upper bound of the tokens that may be spent; and the remaining tokens at the time of the ask."""
        self.granted = 0.0
        """The part of `tokens` from the last answer."""
        self.wants = self.target = want.wants
        """Tokens that the holder wants to hold."""
        self.excess = 0.0
        self.stamp = stamp
        """Of the ask."""
        self.run = run
        self.until = until
        """When the excess has lapsed."""
        self.carry = carry
        """The fraction of a token by which the holder's share exceeded its grant."""


class Account:
    """One key. `flow` must come before everything else."""

    __slots__ = (
        "_changes",
        "_charged",
        "_inflow",
        "_level",
        "_measured",
        "_starters",
        "books",
        "excess",
        "floor",
        "left",
        "pool",
        "roll",
        "wanted",
    )

    def __init__(self, roll: Roll, pool: float, floor: float = -math.inf) -> None:
        self.roll = roll
        self.pool = pool
        """Tokens; below 0 after an overdraft, or after starters were granted from an empty pool."""
        self.floor = floor
        """The stored lower bound of the pool, for the next owner; -inf if none is stored."""
        self.books: dict[str, Book] = {}
        """By holder; a holder without an entry has at most a starter. In the order of the asks, and therefore of
        `until`."""
        self.excess = 0.0
        self.wanted = 0.0
        self.left = 0.0
        """Sums over all books."""
        self._level = self._measured = 0.0
        """Tokens spent, less the rate, in the worst window at the last measurement; and the time of that
        measurement."""
        self._inflow = roll.inflow
        self._charged = roll.charged
        self._starters = roll.starters
        self._changes = len(roll.changes)
        """The number of changes of the limit that are applied."""

    def flow(self, now: float) -> None:
        """Add the inflow, pay for new starters, and drop lapsed books."""
        roll = self.roll
        # Starters that were given back since the last call leave room from now on only, as they may have been
        # spent just before.
        taken = max(roll.starters, self._starters) + self.excess
        # Tokens that flowed in before a change went into the previous bucket.
        if self._changes != len(roll.changes):
            for change in roll.changes[self._changes :]:
                self._gain(change.inflow, change.burst - taken)
                self.pool = change.lowered(self.pool, self.excess)
            self._changes = len(roll.changes)
        self._gain(roll.inflow, roll.limit.burst - taken)
        self.pool -= roll.charged - self._charged
        self._charged, self._starters = roll.charged, roll.starters
        while self.books:
            holder = next(iter(self.books))
            if self.books[holder].until > now:
                break
            self._close(holder)

    def answer(
        self, holder: str, member: Member, ask: Ask, want: Want, now: float, *, refill: bool = False
    ) -> Grant:
        """Settle the holder's report, and grant tokens. Its starter must have been offered before. `refill`: an
        operator orders that the key gets all tokens that are not held."""
        self._measure(want, now)
        old = self._close(holder)
        if old is not None and old.run != ask.run:
            # The former holder's tokens count as spent.
            old = None
        known = float(member.starter - member.promised)
        if old is not None:
            known = old.tokens
            if old.stamp > ask.answered:
                # The last grant was lost and will never be used: the holder waits only for this answer.
                known -= old.granted
                self._put(old.granted)
        book = Book(want, ask.stamp, ask.run, now + LEASE * SKEW, old.carry if old else 0.0)
        self._put(max(0.0, min(want.back, known - book.tokens)))
        held = max(0.0, book.tokens - member.offered)
        # After a takeover the room is not known: holdings of the previous owner may fill it.
        credit = max(0.0, want.credit) if self.roll.knows_all(now) else 0.0
        self._put(self.roll.limit.burst - min(0.0, self.pool) if refill else credit, held)
        # An overdraft is charged at once: all holders wait for it, not only the one that caused it.
        debt = max(0.0, -want.holds)
        self.pool -= debt
        given = self._share(book)
        self.pool -= given
        self.roll.granted += given
        book.granted = given + debt
        book.tokens += given
        if want.wants <= member.offered and math.isclose(book.tokens, member.offered):
            return Grant(want.key, book.granted, book.target, True, self.pool)
        # The offer may be below `member.starter`: holdings are cut to it before that is lowered.
        book.excess = max(0.0, book.tokens - member.offered)
        self.books[holder] = book
        self.excess += book.excess
        self.wanted += book.wants
        self.left += book.left
        return Grant(want.key, book.granted, book.target, False, self.pool)

    def reservation(self) -> float:
        """The floor to store: one step below the pool. Above 0, or 0."""
        return max(0.0, self.pool - self.step)

    @property
    def step(self) -> float:
        """Tokens by which a floor is below the pool when it is stored."""
        return max(1.0, self.roll.limit.burst / 20)

    def _measure(self, want: Want, now: float) -> None:
        """Add the reported spending to that of other holders. Reports are at most LEASE old. The measured windows may
        be too short by that time, and the bound is adjusted for it."""
        limit = self.roll.limit
        self._level = max(0.0, self._level - limit.rate * (now - self._measured)) + want.spent
        self._measured = now
        self.roll.overshoot = max(self.roll.overshoot, self._level - limit.burst - limit.rate * LEASE)

    def _share(self, book: Book) -> float:
        """The grant for the holder: all tokens that it wants, or its share in whole tokens.

        The available tokens (the pool, all holdings, and the inflow until every holder has asked again) are divided in
        proportion to demand. A token is then as likely to be where a request arrives as with a single bucket, and no
        holder keeps a full holding while others starve.
        """
        spendable = self.pool - max(0.0, self.floor)
        there = max(0.0, spendable) + self.left + book.left + self.roll.limit.rate * ASKING
        book.target *= min(1.0, there / (self.wanted + book.wants)) if book.wants else 1.0
        missing = book.wants - book.tokens
        if missing <= 0 or spendable <= 0:
            return 0.0
        share = book.carry + max(0.0, book.target - book.tokens)
        if share >= missing and spendable >= missing:
            book.carry = 0.0
            return missing
        given = math.floor(min(share, missing, spendable))
        book.carry = min(1.0, share - given)
        return float(given)

    def _gain(self, inflow: float, room: float) -> None:
        if self.pool < room:
            self.pool = min(room, self.pool + inflow - self._inflow)
        self._inflow = inflow

    def _close(self, holder: str) -> Book | None:
        book = self.books.pop(holder, None)
        if book is not None:
            self.excess = self.excess - book.excess if self.books else 0.0
            self.wanted = self.wanted - book.wants if self.books else 0.0
            self.left = self.left - book.left if self.books else 0.0
        return book

    def _put(self, tokens: float, held: float = 0.0) -> None:
        """Return tokens to the pool, as far as there is room. `held`: excess that is in no book."""
        room = self.roll.limit.burst - self.roll.starters - self.excess - held
        self.pool = max(self.pool, min(room, self.pool + tokens))
