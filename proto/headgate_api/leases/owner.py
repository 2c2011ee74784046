"""The owner's end of one limit: its roll of holders, and an account for each key that is not full.

No call visits all accounts: what concerns every key is applied to an account when it is next looked at, or by `sweep`.
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
"""Seconds in which an empty bucket fills; for slower ones the next owner must know how empty they are."""
VISITED: Final = 500
"""Accounts looked at for one ask, at most, for the sake of a holder that is to get a higher starter."""
MOST_DRAINED: Final = 200
"""Keys named in an answer that have not paid for it."""
MOST_RESETS: Final = 1000
"""Operators' orders that are remembered."""
MOST_STORED: Final = 10_000
"""Keys of slow limits that one value of the store names. Others may be drained as far as it says of all."""


class Floors(NamedTuple):
    """Stored lower bounds of the pools of a slow limit, for the next owner: tokens."""

    blank: float
    """In each pool that is not named."""
    keys: Mapping[str, float]
    starters: int = 0
    """An upper bound of all starters together: of any limit."""
    burst: int = 0
    """That of the limit when this was so; 0: as it is now."""
    shared: bool = False
    """Whether there may be starters that last as long as those of WithoutOwner.SHARE."""


_STEADY: Final = 60.0
"""Seconds after which the store says that starters are less than they were: who leaves may come back until then."""


def first_floors(limit: Limit) -> Floors:
    """The stored entry that a limit needs before its first owner begins."""
    # Should a limit become slow that is not, the next owner begins with empty buckets.
    blank = float(limit.burst - limit.reserve) if is_slow(limit) else 0.0
    return Floors(blank, {}, burst=limit.burst, shared=limit.shared)


def is_slow(limit: Limit) -> bool:
    """Whether an empty bucket fills so slowly that the next owner must know how empty it is."""
    return limit.burst > limit.rate * SLOW


class Reservation(NamedTuple):
    """Floors to store, and the changes: keys, and keys that are no longer named."""

    floors: Floors
    low: tuple[str, ...]
    gone: tuple[str, ...]
    lowered: int = 0
    """By how much all floors are lower, as the burst is."""


class Owner:
    """Answers asks. `epoch` is greater than that of every owner before."""

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
        """`takeover`: false only for a limit that had no owner before. `floors`: what the former owner stored of a
        slow limit. `stored` None means that no store exists, and that no limit is slow.
        """
        self.epoch = epoch
        self._stored = stored
        self.most = most
        """Accounts at a time; those that are there when it is lowered stay until they are full."""
        self.most_stored = MOST_STORED
        """Keys that the store may name, its part of those that lie together."""
        self._says = first_floors(limit) if floors is None else floors
        """What the store says."""
        self._fewer_since = now
        self._shared_until = now + SHARE * SKEW if self._says.shared else -math.inf
        """Until when there may be starters that last so long, though the limit does not say so any more."""
        before = self._says.burst or limit.burst
        self._lowered = max(0, before - limit.burst)
        """By how much the burst is lower than when the floors were computed that are stored."""
        allowed = self._says.starters if stored else limit.reserve
        self.roll = Roll(limit, now, takeover, allowed, shared=self._says.shared)
        full = float(limit.burst - self.roll.starters)
        change = Change(0.0, before, min(allowed, before // 2), limit, self.roll.starters)
        self.blank = Account(self.roll, 0.0 if takeover and not self.slow else full)
        """The state of every key without an account: full, unless the owner or a holder has just begun."""
        self.accounts: dict[str, Account] = {}
        if self.slow:
            if floors is not None:
                self.blank.pool = min(change.lowered(floors.blank), full)
            self.blank.floor = self._says.blank
            for key, floor in self._says.keys.items():
                self.accounts[key] = Account(self.roll, min(change.lowered(floor), full), floor)
        self._low: dict[str, None] = {}
        """Keys whose floor is to be stored anew: it is near the pool, or far below it."""
        self._gone: dict[str, None] = {}
        """Keys that the store names although they have no account any more."""
        self._swept: Iterator[str] = iter(())
        self._resets: dict[tuple[str, int], None] = {}
        """Orders that have been obeyed: each holder passes them on."""
        self._obeyed_until = epoch
        """Revision up to which orders may have been obeyed that are not among them, by a former owner or here."""

    @property
    def slow(self) -> bool:
        """Whether floors have to be stored."""
        return self._stored and is_slow(self.roll.limit)

    def ask(self, holder: str, ask: Ask, now: float) -> Answer | None:
        """The answer to `ask`, which arrives at `now`; None if a newer one of `holder` (one run of a worker) came
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
        """`holder` said goodbye, or its process is known to be dead."""
        self.roll.flow(now)
        self.roll.leave(holder)

    def sweep(self, now: float, most: int = 1000) -> None:
        """Forget holders whose starters have lapsed, and those of the next `most` accounts that are full. A few times
        a second."""
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
        """The limit has changed. A higher burst fills at the new rate; a lower one is in force when the excess of the
        old one has been spent or has lapsed."""
        self.roll.flow(now)
        was_slow, before = self.slow, self.roll.limit
        self.roll.adopt(limit)
        if before.shared:
            self._shared_until = now + SHARE * SKEW
        self._lowered += max(0, before.burst - limit.burst)
        if self.slow != was_slow:
            # The stored entry of a limit that was slow before may be out of date: nothing is granted until a current
            # one is stored.
            floor = -math.inf if was_slow else 0.0 if self._says_nothing else math.inf
            for account in (self.blank, *self.accounts.values()):
                account.floor = floor
            self._low = {} if was_slow else dict.fromkeys(self.accounts)

    def reserve(self, now: float) -> Reservation | None:
        """The entry of a slow limit to store before more is granted; None if it says enough. Then call
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
                # A higher one counts from the moment on when it may be stored; a lower one when it is.
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
        """Whether a holder waits for what `reserve` says."""
        return self.roll.wanted > self.roll.allowed

    @property
    def _says_nothing(self) -> bool:
        """Whether the next owner would begin with empty buckets."""
        return not self._says.blank and not self._says.keys

    def _starters(self, now: float) -> int:
        """The upper bound of all starters together, to be stored."""
        roll = self.roll
        # A smaller burst takes room for starters away, and those that are too large go one by one.
        wanted, roll.wanted = max(roll.starters, min(roll.wanted, roll.limit.reserve)), 0
        if wanted >= self._says.starters:
            self._fewer_since = now
            return wanted
        if now < self._fewer_since + _STEADY:
            return self._says.starters
        # A lower one counts from the moment on when it may be stored.
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
        # Keys that the store does not name have at least the stored floor of all others.
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
        """Whether this order to fill up the bucket is new. The former owner may have carried out an order older than
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
        """Have the floor stored anew if the pool is near it, or far above."""
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
        """Whether all pools have paid for the starter that is promised to `member`, or the holder knows of those that
        have not. Looks at some of them each time."""
        if member.drained:
            if ask.answered != member.told:
                member.told = ask.stamp
                return False
            member.drained = ()
        if member.unpaid is None:
            # All keys without an account first: those that get one from here on have paid as well.
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
