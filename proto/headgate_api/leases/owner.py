"""The owner's end of one limit: its roll of holders, and an account for each key that is not full.

No call visits all accounts: a change for every key is applied to an account at its next use, or by `sweep`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from headgate_api.leases.account import Account
from headgate_api.leases.messages import SHARE, SKEW, Answer, Ask, Grant, Limit, Want
from headgate_api.leases.roll import Change, Member, Roll

SLOW: Final = 60.0
"""Seconds in which an empty bucket fills; the next owner must know the levels of slower buckets."""
VISITED: Final = 500
"""Maximum of accounts visited for one ask, so that a holder can get a higher starter."""
MOST_DRAINED: Final = 200
"""Maximum of keys in an answer that have not paid for a starter."""
MOST_RESETS: Final = 1000
"""The number of operators' orders that are kept."""
MOST_STORED: Final = 10_000
"""Keys of slow limits in one value of the store. Other keys may be drained to its common floor."""


class Floors(NamedTuple):
    """Stored lower bounds of the pools of a slow limit, for the next owner: tokens."""

    blank: float
    """The floor of each pool without an entry."""
    keys: Mapping[str, float]
    starters: int = 0
    """An upper bound of all starters together, for any limit."""
    burst: int = 0
    """The burst of the limit at that time; 0: as it is now."""
    shared: bool = False
    """Whether some starters may last as long as those of WithoutOwner.SHARE."""


_STEADY: Final = 60.0
"""Seconds before a lower sum of starters is stored, because a holder that leaves may return."""


def first_floors(limit: Limit) -> Floors:
    """The stored entry that a limit needs before its first owner begins."""
    # If a fast limit becomes slow, the next owner starts with empty buckets.
    blank = float(limit.burst - limit.reserve) if is_slow(limit) else 0.0
    return Floors(blank, {}, burst=limit.burst, shared=limit.shared)


def is_slow(limit: Limit) -> bool:
    """Whether an empty bucket fills so slowly that the next owner must know its level."""
    return limit.burst > limit.rate * SLOW


class Reservation(NamedTuple):
    """Floors to store, and the changes: keys, and keys without an entry from now on."""

    floors: Floors
    low: tuple[str, ...]
    gone: tuple[str, ...]
    lowered: int = 0
    """The amount by which all floors are lower, because the burst is."""


class Owner:
    """Answers asks. `epoch` is greater than that of every earlier owner."""

    def __init__(
        self,
        limit: Limit,
        epoch: int,
        now: float,
        takeover: bool,
        floors: Floors | None = None,
        *,
        stored: bool = True,
        most: int = 100_000,
    ) -> None:
        """`takeover`: false only for a limit without an earlier owner. `floors`: the stored floors of a slow limit.
        `stored` None means that there is no store, and that no limit is slow.
        """
        self.epoch = epoch
        self._stored = stored
        self.most = most
        """Maximum of accounts; if it is lowered, existing ones stay until they are full."""
        self.most_stored = MOST_STORED
        """Maximum of keys in the store: this limit's part of the common value."""
        self._says = first_floors(limit) if floors is None else floors
        """What the store says."""
        self._fewer_since = now
        self._shared_until = now + SHARE * SKEW if self._says.shared else -math.inf
        """The time until which such long starters may exist, although the limit no longer has this policy."""
        before = self._says.burst or limit.burst
        self._lowered = max(0, before - limit.burst)
        """The amount by which the burst is lower than at the computation of the stored floors."""
        allowed = self._says.starters if stored else limit.reserve
        self.roll = Roll(limit, now, takeover, allowed, shared=self._says.shared)
        full = float(limit.burst - self.roll.starters)
        change = Change(0.0, before, min(allowed, before // 2), limit, self.roll.starters)
        self.blank = Account(self.roll, 0.0 if takeover and not self.slow else full)
        """The state of every key without an account: full, unless the owner or a holder has just started."""
        self.accounts: dict[str, Account] = {}
        if self.slow:
            if floors is not None:
                self.blank.pool = min(change.lowered(floors.blank), full)
            self.blank.floor = self._says.blank
            for key, floor in self._says.keys.items():
                self.accounts[key] = Account(self.roll, min(change.lowered(floor), full), floor)
        self._low: dict[str, None] = {}
        """Keys whose floor must be stored again, because it is near the pool, or far below it."""
        self._gone: dict[str, None] = {}
        """Keys in the store that no longer have an account."""
        self._swept: Iterator[str] = iter(())
        self._resets: dict[tuple[str, int], None] = {}
        """Orders that were carried out; each holder sends them."""
        self._obeyed_until = epoch
        """Revision up to which other orders may have been carried out, by an earlier owner or here."""

    @property
    def slow(self) -> bool:
        """Whether floors must be stored."""
        return self._stored and is_slow(self.roll.limit)

    def ask(self, holder: str, ask: Ask, now: float) -> Answer | None:
        """The answer to `ask`, which arrives at `now`; None if a newer one of `holder` (one run of a worker) arrived
        before."""
        self.roll.flow(now)
        member = self.roll.hear(holder, ask, now)
        if member is None:
            return None
        starter = self.roll.offer(member, now, lambda joining: self._paid(joining, ask, now))
        limit = self.roll.limit
        grants = tuple(self._grant(holder, member, ask, want, now) for want in ask.wants)
        pace = limit.pace(member.offered)
        return Answer(ask.stamp, self.epoch, starter, limit.starter_lease, pace, grants, member.drained)

    def leave(self, holder: str, now: float) -> None:
        """`holder` has left, or its process is known to be dead."""
        self.roll.flow(now)
        self.roll.leave(holder)

    def sweep(self, now: float, most: int = 1000) -> None:
        """Drop holders with lapsed starters, and full accounts among the next `most`. Call it a few times a second."""
        self.roll.flow(now)
        self.roll.expire(now)
        self.blank.flow(now)
        for _ in range(min(most, len(self.accounts))):
            key = next(self._swept, None)
            if key is None:
                self._swept = iter(list(self.accounts))
                key = next(self._swept, "")
            account = self.accounts.get(key)
            if account is None:
                continue
            account.flow(now)
            if not account.books and account.pool >= self.blank.pool:
                self._forget(key)
            else:
                self._note(key, account)

    def adopt(self, limit: Limit, now: float) -> None:
        """The limit has changed. A higher burst fills at the new rate; a lower one takes effect when the excess of the
        old one has been spent or has lapsed."""
        self.roll.flow(now)
        was_slow, before = self.slow, self.roll.limit
        self.roll.adopt(limit)
        if before.shared:
            self._shared_until = now + SHARE * SKEW
        self._lowered += max(0, before.burst - limit.burst)
        if self.slow != was_slow:
            # The stored entry of a limit that was slow before may be outdated: nothing is granted until a current one
            # is stored.
            floor = -math.inf if was_slow else 0.0 if self._says_nothing else math.inf
            for account in (self.blank, *self.accounts.values()):
                account.floor = floor
            self._low = {} if was_slow else dict.fromkeys(self.accounts)

    def reserve(self, now: float) -> Reservation | None:
        """The entry of a slow limit to store before more is granted; None if the stored one is sufficient. Then call
        `reserved`."""
        if not self._stored:
            return None
        self.roll.flow(now)
        starters, limit = self._starters(now), self.roll.limit
        shared = limit.shared or now < self._shared_until
        terms = starters, limit.burst, shared
        if not self.slow:
            if self._says_nothing and terms == self._says[2:]:
                return None
            return Reservation(Floors(0.0, {}, *terms), (), (), self._lowered)
        self.blank.flow(now)
        blank = self._blank_floor()
        low, gone = tuple(islice(self._low, VISITED)), tuple(islice(self._gone, VISITED))
        if not low and not gone and blank == self._says.blank and terms == self._says[2:]:
            return None
        less = self._lowered
        keys = {key: max(0.0, floor - less) for key, floor in self._says.keys.items()}
        for key in gone:
            keys.pop(key, None)
        for key in low:
            account = self.accounts.get(key)
            if account is not None and (key in keys or len(keys) < self.most_stored):
                account.flow(now)
                keys[key] = floor = min(account.reservation(), self._default)
                # A higher one counts from the time when it may be stored; a lower one when it is stored.
                account.floor = max(account.floor, floor)
        self.blank.floor = max(self.blank.floor, blank)
        return Reservation(Floors(blank, keys, *terms), low, gone, less)

    def reserved(self, reservation: Reservation) -> None:
        """The store says so."""
        floors, low, gone, less = reservation
        self._says = floors
        self._lowered -= less
        self.roll.allowed = floors.starters
        if not self.slow:
            return
        self.blank.floor = floors.blank
        if less:
            for key, each in self.accounts.items():
                each.floor = floors.keys.get(key, min(each.floor, floors.blank))
        for key in gone:
            self._gone.pop(key, None)
        for key in low:
            self._low.pop(key, None)
            account = self.accounts.get(key)
            if account is not None and key in floors.keys:
                account.floor = floors.keys[key]

    @property
    def due(self) -> bool:
        """Whether a holder waits for the entry of `reserve`."""
        return self.roll.wanted > self.roll.allowed

    @property
    def _says_nothing(self) -> bool:
        """Whether the next owner would start with empty buckets."""
        return not self._says.blank and not self._says.keys

    def _starters(self, now: float) -> int:
        """The upper bound of all starters together, to be stored."""
        roll = self.roll
        # A smaller burst leaves less room for starters, and those that are too large are lowered one by one.
        wanted, roll.wanted = max(roll.starters, min(roll.wanted, roll.limit.reserve)), 0
        if wanted >= self._says.starters:
            self._fewer_since = now
            return wanted
        if now < self._fewer_since + _STEADY:
            return self._says.starters
        # A lower one counts from the time when it may be stored.
        roll.allowed = wanted
        return wanted

    @property
    def _default(self) -> float:
        """The initial tokens of a pool after a takeover without a stored floor."""
        return float(self.roll.limit.burst - self.roll.limit.reserve)

    def _blank_floor(self) -> float:
        """The floor to store for keys without an account."""
        blank, says = self.blank, self._says
        if blank.pool < says.blank:
            return blank.reservation()
        raised = min(blank.reservation(), self._default)
        # Keys without a stored entry have at least the stored common floor.
        if (
            raised >= min(says.blank + 4 * blank.step, self._default)
            and self.accounts.keys() <= says.keys.keys()
        ):
            return max(says.blank, raised)
        return says.blank

    def _grant(self, holder: str, member: Member, ask: Ask, want: Want, now: float) -> Grant:
        account = self._account(want.key, now)
        if account is None:
            # No room: holders of this key get starters only.
            return Grant(want.key, 0.0, 0.0, False, 0.0)
        refill = bool(want.reset) and self._obey(want.key, want.reset)
        grant = account.answer(holder, member, ask, want, now, refill=refill)
        self._note(want.key, account)
        return grant

    def _obey(self, key: str, revision: int) -> bool:
        """Whether this order to refill the bucket is new. The previous owner may have carried out an order older than
        the claim: starting workers repeat orders for minutes."""
        if revision <= self._obeyed_until or (key, revision) in self._resets:
            return False
        self._resets[key, revision] = None
        if len(self._resets) > MOST_RESETS:
            oldest = next(iter(self._resets))
            del self._resets[oldest]
            self._obeyed_until = max(self._obeyed_until, oldest[1])
        return True

    def _account(self, key: str, now: float) -> Account | None:
        account = self.accounts.get(key)
        if account is not None:
            account.flow(now)
            return account
        if len(self.accounts) >= self.most:
            return None
        self.blank.flow(now)
        floor = self.blank.floor if self.slow else -math.inf
        account = self.accounts[key] = Account(self.roll, self.blank.pool, floor)
        return account

    def _note(self, key: str, account: Account) -> None:
        """Schedule the floor to be stored again if the pool is near it, or far above."""
        if not self.slow:
            return
        above = min(account.pool, self._default) - account.floor
        if (
            account.pool - account.floor < account.step / 2 and account.floor > 0
        ) or above > 4 * account.step:
            self._low[key] = None

    def _forget(self, key: str) -> None:
        del self.accounts[key]
        self._low.pop(key, None)
        if key in self._says.keys:
            self._gone[key] = None

    def _paid(self, member: Member, ask: Ask, now: float) -> bool:
        """Whether all pools have paid for the starter that is promised to `member`, or the holder knows those that have
        not. Each call checks some of them."""
        if member.drained:
            if ask.answered != member.told:
                member.told = ask.stamp
                return False
            member.drained = ()
        if member.unpaid is None:
            # All keys without an account first: keys that get an account later have then paid, too.
            self.blank.flow(now)
            if self.blank.pool < max(0.0, self.blank.floor):
                return False
            member.unpaid = iter(list(self.accounts))
        drained: list[str] = []
        for _ in range(VISITED):
            key = next(member.unpaid, None)
            if key is None:
                if not drained:
                    return True
                break
            account = self.accounts.get(key)
            if account is not None:
                account.flow(now)
                if account.pool < max(0.0, account.floor):
                    drained.append(key)
            if len(drained) >= MOST_DRAINED:
                break
        member.drained, member.told = tuple(drained), ask.stamp
        return False
