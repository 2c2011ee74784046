"""The owner's roll: holders of starters of a limit, silent holders, and the inflow of every pool.

Starters and silent holders concern every key. So that none has to be visited, the roll keeps three sums, and each
account remembers up to where it has applied them (`Account.flow`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headgate_api.leases.messages import LEASE, SHARE, SKEW, Ask, Limit


class Member:
    """One holder, as the owner knows it."""

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
        """When the newest ask arrived of which the owner knows that its answer came."""
        self.starter = 0
        """Tokens of each key that it may have, at most."""
        self.promised = 0
        """The part of it that pools have paid for, or owe, and that has not been offered."""
        self.offered = 0
        """The starter in the last answer, at most `starter`."""
        self.until = now
        """When its starter has lapsed."""
        self.pace = 0.0
        """Tokens a second that it may gain while it is not heard, at most."""
        self._lease = self._pace = 0.0
        """As in the last answer."""
        self.unpaid: Iterator[str] | None = None
        """Keys that may not have paid for the promised starters: those not visited yet. None: all of them."""
        self.drained: tuple[str, ...] = ()
        """Those found, which the holder is told of until it has answered."""
        self.told = -math.inf
        """Stamp of the ask whose answer names them."""

    def confirm(self) -> None:
        """The answer to its newest ask has arrived: it follows those terms."""
        self.heard = self.arrived
        self.until = self.arrived + self._lease * SKEW
        self.pace = self._pace

    def promise(self, lease: float, pace: float, now: float) -> None:
        """It has been answered: it may follow this answer, or the previous one."""
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
    """The part of the starters that remains after the holders have been told."""

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
        """With `takeover` there may be holders, unknown here, with holdings of a former owner, and with starters, all
        together `allowed`. `shared`: these may be from a time when they were given for SHARE."""
        self.limit = limit
        self.allowed = allowed
        """The upper bound of all starters together, on which the next owner relies."""
        self.wanted = 0
        """Their future value."""
        self.members: dict[str, Member] = {}
        self.unheard = min(limit.reserve, allowed) if takeover else 0
        """Starters of holders of the former owner that have not asked here."""
        self._closes = now + (SHARE if shared else limit.starter_lease) * SKEW
        """When starters that the former owner gave have lapsed."""
        self.starters = self.unheard
        """Sum of all starters, the unheard ones too: what each account must leave."""
        self.inflow = 0.0
        """Tokens that have flowed towards each pool, ever."""
        self.charged = 0
        """Tokens that each pool has paid for new starters, ever."""
        self.granted = 0.0
        """Tokens granted, ever."""
        self.overshoot = 0.0
        """Tokens that holders said they spent of one key above the bound, in the worst window that was seen."""
        self.changes: list[Change] = []
        self._at = now + LEASE * SKEW if takeover else now
        """Up to when `inflow` counts. After a takeover it stands still until all unknown holdings have lapsed."""
        self._silent_from = -math.inf
        """Before this no member is silent but those of `_silent`."""
        self._silent: dict[str, Member] = {}
        """Members that were not heard for LEASE when all were looked at, about once a LEASE; some may have been since.
        """
        self._settled: dict[str, Member] = {}
        self._settled_pace = 0.0
        """Those of them that were silent at the last look already, and have not asked since: there may be many of them,
        for long. The sum of their possible gains."""

    def flow(self, now: float) -> None:
        """Count what flows in until `now`, without the share of those that may be helping themselves to theirs."""
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
        """Take note of an ask; None if it is not newer than one before."""
        member = self.members.get(holder)
        if member is not None and ask.run > member.run:
            self.leave(holder)
            member = None
        states = ask.starter
        self._unsettle(holder)
        if member is None:
            known = min(self.unheard, states)
            # All that former owners gave were `allowed` together: more is said by a holder out of order, and would
            # be taken from all others.
            states = min(states, known + max(0, max(self.limit.reserve, self.allowed) - self.starters))
            # A holder with a starter of a former owner may have been away for long.
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
            # It was given by this owner, or counted when it was first said.
            states = min(states, member.starter)
            if ask.answered == member.stamp:
                member.confirm()
        self._set(member, max(states, member.offered) + member.promised)
        member.stamp, member.arrived = ask.stamp, now
        return member

    def offer(self, member: Member, now: float, paid: Callable[[Member], bool]) -> int:
        """The starter for the next answer to `member`.

        A higher one is taken out of every pool first, and given when `paid` says that all have had as much, or that
        the holder knows of those that have not.
        """
        # One more than there are: who joins finds a part that is free, and needs not wait for others to lower theirs.
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
        """`holder` said goodbye, or is known to be dead: it spends no more."""
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
        """From now on the limit is `limit`; call `flow` before. A lower burst is taken out of every pool."""
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
