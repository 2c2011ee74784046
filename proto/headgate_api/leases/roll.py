"""The owner's roll: who holds starters of a limit, whom it does not hear, and what flows into every pool.

Starters and silent holders concern every key. So that none has to be visited, the roll keeps three sums, and each
account remembers up to where it has applied them (`Account.flow`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from headgate_api.leases.messages import LEASE, SKEW, Ask, Limit


class Member:
    """One holder, as the owner knows it."""

    __slots__ = ("arrived", "heard", "offered", "promised", "stamp", "starter")

    def __init__(self, now: float, heard: float) -> None:
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


class Roll:
    """All holders of one limit."""

    __slots__ = (
        "_at",
        "_closes",
        "_silent_from",
        "charged",
        "inflow",
        "limit",
        "members",
        "starters",
        "unheard",
    )

    def __init__(self, limit: Limit, now: float, takeover: bool) -> None:
        """With `takeover` there may be holders, unknown here, with starters and holdings of a former owner."""
        self.limit = limit
        self.members: dict[str, Member] = {}
        self.unheard = limit.reserve if takeover else 0
        """Starters of holders of the former owner that have not asked here."""
        self._closes = now + limit.starter_lease * SKEW
        """When starters that the former owner gave have lapsed."""
        self.starters = self.unheard
        """Sum of all starters, the unheard ones too: what each account must leave."""
        self.inflow = 0.0
        """Tokens that have flowed towards each pool, ever."""
        self.charged = 0
        """Tokens that each pool has paid for new starters, ever."""
        self._at = now + LEASE * SKEW if takeover else now
        """Up to when `inflow` counts. After a takeover it stands still until all unknown holdings have lapsed."""
        self._silent_from = -math.inf
        """Before this no member is silent."""

    def flow(self, now: float) -> None:
        """Count what flows in until `now`, without the share of those that may be helping themselves to theirs."""
        passed = now - self._at
        if passed <= 0:
            return
        if self.unheard and now >= self._closes:
            self.close()
        taken = self.limit.pace(self.unheard) * passed
        if now > self._silent_from:
            oldest = now
            for member in self.members.values():
                silent = now - LEASE - member.heard
                if silent > 0:
                    taken += self.limit.pace(member.starter) * min(silent, passed)
                oldest = min(oldest, member.heard)
            self._silent_from = oldest + LEASE
        self.inflow += max(0.0, self.limit.rate * passed - taken)
        self._at = now

    def hear(self, holder: str, ask: Ask, now: float) -> Member | None:
        """Take note of an ask; None if it is not newer than one before."""
        member = self.members.get(holder)
        if member is None:
            # A holder with a starter of a former owner may have been away for long.
            member = self.members[holder] = Member(now, -math.inf if ask.starter else now)
            self._silent_from = min(self._silent_from, member.heard + LEASE)
            known = min(self.unheard, ask.starter)
            self.unheard -= known
            self.starters -= known
            self.charged += ask.starter - known
        elif ask.stamp <= member.stamp:
            return None
        elif ask.answered == member.stamp:
            member.heard = member.arrived
        self._set(member, max(ask.starter, member.offered) + member.promised)
        member.stamp, member.arrived = ask.stamp, now
        return member

    def offer(self, member: Member, payable: Callable[[], bool]) -> int:
        """The starter for the next answer to `member`.

        A higher one is taken out of every pool first, and given when all have had as much: `payable` says that none is
        below 0.
        """
        # One more than there are: who joins finds a part that is free, and needs not wait for others to lower theirs.
        target = self.limit.reserve // (len(self.members) + 1)
        more = min(target - member.starter, self.limit.reserve - self.starters)
        if more > 0 and not member.promised:
            self._set(member, member.starter + more)
            self.charged += more
            member.promised = more
        if member.promised and payable():
            member.promised = 0
        member.offered = min(target, member.starter - member.promised)
        return member.offered

    def leave(self, holder: str) -> None:
        """`holder` said goodbye, or is known to be dead: it spends no more."""
        member = self.members.pop(holder, None)
        if member is not None:
            self.starters -= member.starter

    def close(self) -> None:
        """There are no holders of a former owner but those that have asked."""
        self.starters -= self.unheard
        self.unheard = 0

    def expire(self, now: float) -> None:
        """Drop members whose starters have lapsed."""
        lease = self.limit.starter_lease * SKEW
        for holder in [each for each, member in self.members.items() if now >= member.arrived + lease]:
            self.leave(holder)

    def adopt(self, limit: Limit) -> None:
        """From now on the limit is `limit`; call `flow` before. A lower burst is taken out of every pool."""
        self.charged += max(0, self.limit.burst - limit.burst)
        self.limit = limit

    def _set(self, member: Member, starter: int) -> None:
        self.starters += starter - member.starter
        member.starter = starter
