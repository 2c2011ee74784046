"""The owner's roll: holders of starters of a limit, silent holders, and the inflow of every pool.

Starters and silent holders affect every key. To avoid a visit of all accounts, the roll keeps three sums, and each
account stores how much of them it has applied (`Account.flow`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headgate_api.leases.messages import LEASE, SHARE, SKEW, Ask, Limit


class Member:
    """The owner's record of one holder."""

    __slots__ = (
        "_lease", "_pace", "arrived", "drained", "heard", "offered", "pace", "promised", "run", "stamp",
        "starter", "told", "unpaid", "until",
    )  # fmt: skip

    def __init__(self, now: float, heard: float, run: int) -> None:
        self.run = run
        self.stamp = -math.inf
        """Of its newest ask."""
        self.arrived = now
        """When that ask arrived."""
        self.heard = heard
        """Arrival time of the newest ask whose answer is known to have arrived."""
        self.starter = 0
        """Maximum of its tokens of each key."""
        self.promised = 0
        """The part of it that is paid or owed by pools, and not yet offered."""
        self.offered = 0
        """The starter in the last answer, at most `starter`."""
        self.until = now
        """The time at which its starter lapses."""
        self.pace = 0.0
        """Maximum of tokens a second that it may gain while it is silent."""
        self._lease = self._pace = 0.0
        """The value in the last answer."""
        self.unpaid: Iterator[str] | None = None
        """Keys not visited yet, which may not have paid for the promised starters. None: all of them."""
        self.drained: tuple[str, ...] = ()
        """Keys found unpaid, which are sent to the holder until it has answered."""
        self.told = -math.inf
        """Stamp of the ask whose answer has them."""

    def confirm(self) -> None:
        """The answer to its newest ask has arrived, so it follows these terms."""
        self.heard = self.arrived
        self.until = self.arrived + self._lease * SKEW
        self.pace = self._pace

    def promise(self, lease: float, pace: float, now: float) -> None:
        """An answer was sent: the holder may follow this one, or the previous one."""
        self._lease, self._pace = lease, pace
        self.until = max(self.until, now + lease * SKEW)
        self.pace = max(self.pace, pace)


class Change(NamedTuple):
    """A change of the limit: the inflow until it, burst and starters before it, and the limit after it."""

    inflow: float
    burst: int
    starters: int
    limit: Limit
    kept: int
    """The part of the starters that remains after the holders know the change."""

    def lowered(self, pool: float, excess: float = 0.0) -> float:
        """The pool after a change: tokens missing from the bucket stay missing, up to the size of the new one.
        Starters that are too large need no room for long."""
        if self.limit.burst >= self.burst:
            return pool
        lacks = max(0.0, self.burst - pool - self.starters - excess)
        return min(pool, max(0.0, self.limit.burst - lacks) - self.kept - excess)


class Roll:
    """All holders of one limit."""

    __slots__ = (
        "_at",
        "_closes",
        "_settled",
        "_settled_pace",
        "_silent",
        "_silent_from",
        "allowed",
        "changes",
        "charged",
        "granted",
        "inflow",
        "limit",
        "members",
        "overshoot",
        "starters",
        "unheard",
        "wanted",
    )

    def __init__(
        self, limit: Limit, now: float, takeover: bool, allowed: int, *, shared: bool = False
    ) -> None:
        """With `takeover` there may be unknown holders with holdings of an earlier owner, and with starters of
        `allowed` tokens in all. `shared`: these may have been granted for SHARE."""
        self.limit = limit
        self.allowed = allowed
        """The upper bound of all starters together, on which the next owner relies."""
        self.wanted = 0
        """Their future value."""
        self.members: dict[str, Member] = {}
        self.unheard = min(limit.reserve, allowed) if takeover else 0
        """Starters of holders of the previous owner that have not asked this one."""
        self._closes = now + (SHARE if shared else limit.starter_lease) * SKEW
        """The time at which starters of the previous owner have lapsed."""
        self.starters = self.unheard
        """Sum of all starters, including those of silent holders: each account must reserve it."""
        self.inflow = 0.0
        """The sum of the inflow of each pool, in tokens."""
        self.charged = 0
        """The sum that each pool has paid for new starters, in tokens."""
        self.granted = 0.0
        """Tokens granted, ever."""
        self.overshoot = 0.0
        """Tokens spent of one key above the bound, by the holders' reports, in the worst window so far."""
        self.changes: list[Change] = []
        self._at = now + LEASE * SKEW if takeover else now
        """The time up to which `inflow` is computed. After a takeover it does not change until all unknown holdings
        have lapsed."""
        self._silent_from = -math.inf
        """Before this time only the members in `_silent` are silent."""
        self._silent: dict[str, Member] = {}
        """Members without an ask for LEASE at the last check, about once in each LEASE; some may have asked since.
        """
        self._settled: dict[str, Member] = {}
        self._settled_pace = 0.0
        """The sum of possible gains of members that were already silent at the last check and have not asked since.
        There may be many of them for a long time."""

    def knows_all(self, now: float) -> bool:
        """Whether no holding of an earlier owner is left. After `flow`."""
        return now >= self._at

    def flow(self, now: float) -> None:
        """Add the inflow until `now`, without the shares that silent members may be using."""
        passed = now - self._at
        if passed <= 0:
            return
        if self.unheard and now >= self._closes:
            # All of them have lapsed.
            self.starters -= self.unheard
            self.unheard = 0
        taken = self.limit.pace(self.unheard) * passed
        if now > self._silent_from:
            self._look_for_silent(now)
        taken += self._settled_pace * passed
        for holder, member in list(self._silent.items()):
            silent = now - LEASE - member.heard
            if silent >= passed:
                taken += member.pace * passed
                self._settle(holder, member)
            elif silent > 0:
                taken += member.pace * silent
            else:
                del self._silent[holder]
                self._silent_from = min(self._silent_from, member.heard + LEASE)
        self.inflow += max(0.0, self.limit.rate * passed - taken)
        self._at = now

    def hear(self, holder: str, ask: Ask, now: float) -> Member | None:
        """Record an ask; None if it is not newer than an earlier one."""
        member = self.members.get(holder)
        if member is not None and ask.run > member.run:
            self.leave(holder)
            member = None
        states = ask.starter
        self._unsettle(holder)
        if member is None:
            known = min(self.unheard, states)
            # Earlier owners have granted at most `allowed` together. A faulty holder may state more, which would be
            # taken from all others.
            states = min(states, known + max(0, max(self.limit.reserve, self.allowed) - self.starters))
            # A holder with a starter of an earlier owner may have been away for long.
            member = self.members[holder] = Member(now, -math.inf if states else now, ask.run)
            if states:
                member.until = now + SHARE * SKEW
                member.pace = self.limit.pace(states)
            self._silent_from = min(self._silent_from, member.heard + LEASE)
            self.unheard -= known
            self.starters -= known
            self.charged += states - known
        elif ask.run < member.run or ask.stamp <= member.stamp:
            return None
        else:
            # It was granted by this owner, or counted when it was first stated.
            states = min(states, member.starter)
            if ask.answered == member.stamp:
                member.confirm()
        self._set(member, max(states, member.offered) + member.promised)
        member.stamp, member.arrived = ask.stamp, now
        return member

    def offer(self, member: Member, now: float, paid: Callable[[Member], bool]) -> int:
        """The starter for the next answer to `member`.

        A higher one is first deducted from every pool, and granted when `paid` reports that all pools have paid, or
        that the holder knows those that have not.
        """
        # One part more than holders: a new holder finds a free part, and need not wait until others lower theirs.
        target = self.limit.reserve // (len(self.members) + 1)
        more = min(target - member.starter, self.limit.reserve - self.starters)
        if more > 0 and not member.promised and self.starters + more > self.allowed:
            self.wanted = self.starters + more
            more = self.allowed - self.starters
        if more > 0 and not member.promised:
            self._set(member, member.starter + more)
            self.charged += more
            member.promised = more
            member.unpaid, member.drained = None, ()
        if member.promised and paid(member):
            member.promised = 0
        member.offered = min(target, member.starter - member.promised)
        member.promise(self.limit.starter_lease, self.limit.pace(member.offered), now)
        return member.offered

    def leave(self, holder: str) -> None:
        """`holder` has left, or is known to be dead: it spends no more tokens."""
        self._unsettle(holder)
        member = self.members.pop(holder, None)
        if member is not None:
            self._silent.pop(holder, None)
            self.starters -= member.starter

    def expire(self, now: float) -> None:
        """Drop members whose starters have lapsed."""
        for holder in [each for each, member in self.members.items() if now >= member.until]:
            self.leave(holder)

    def adopt(self, limit: Limit) -> None:
        """From now on the limit is `limit`; call `flow` before. A lower burst is deducted from every pool."""
        away = self.unheard + sum(
            member.starter for member in self.members.values() if self._at - LEASE > member.heard
        )
        kept = min(self.starters, away + limit.reserve)
        self.changes.append(Change(self.inflow, self.limit.burst, self.starters, limit, kept))
        self.limit = limit

    def _look_for_silent(self, now: float) -> None:
        oldest = now
        for holder, member in self.members.items():
            if now - LEASE > member.heard:
                if holder not in self._settled:
                    self._silent[holder] = member
            else:
                oldest = min(oldest, member.heard)
        self._silent_from = oldest + LEASE

    def _settle(self, holder: str, member: Member) -> None:
        del self._silent[holder]
        self._settled[holder] = member
        self._settled_pace += member.pace

    def _unsettle(self, holder: str) -> None:
        """Its known state may change."""
        member = self._settled.pop(holder, None)
        if member is not None:
            self._silent[holder] = member
            self._settled_pace = self._settled_pace - member.pace if self._settled else 0.0

    def _set(self, member: Member, starter: int) -> None:
        self.starters += starter - member.starter
        member.starter = starter
