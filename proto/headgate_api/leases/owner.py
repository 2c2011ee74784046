"""The owner's end of one limit: its roll of holders, and an account for each key that is not full."""

from __future__ import annotations

import math
from collections.abc import Mapping

from headgate_api.leases.account import Account
from headgate_api.leases.messages import Answer, Ask, Limit
from headgate_api.leases.roll import Roll

SLOW = 60.0
"""Seconds in which an empty bucket fills; for slower ones the next owner must know how empty they are."""


class Owner:
    """Answers asks. `epoch` is greater than that of every owner before."""

    def __init__(
        self, limit: Limit, epoch: int, now: float, takeover: bool, floors: Mapping[str, float] | None = None
    ) -> None:
        """`takeover`: false only for a limit that had no owner before. `floors`: what the former owner stored."""
        self.epoch = epoch
        self.roll = Roll(limit, now, takeover)
        self.slow = limit.burst > limit.rate * SLOW
        full = limit.burst - self.roll.starters
        self.blank = Account(self.roll, 0.0 if takeover and not self.slow else full)
        """The state of every key without an account: full, unless the owner or a holder has just begun."""
        self.accounts: dict[str, Account] = {}
        for key, floor in (floors or {}).items():
            self.accounts[key] = Account(self.roll, min(floor, full), floor)

    def ask(self, holder: str, ask: Ask, now: float) -> Answer | None:
        """The answer to `ask`, which arrives at `now`; None if a newer one of `holder` (one run of a worker) came
        before."""
        self.roll.flow(now)
        member = self.roll.hear(holder, ask, now)
        if member is None:
            return None
        starter = self.roll.offer(member, lambda: self._payable(now))
        grants = tuple(
            self._account(want.key, now).answer(holder, member, ask, want, now) for want in ask.wants
        )
        return Answer(ask.stamp, self.epoch, starter, grants)

    def leave(self, holder: str, now: float) -> None:
        """`holder` said goodbye, or its process is known to be dead."""
        self.roll.flow(now)
        self.roll.leave(holder)

    def complete(self, now: float) -> None:
        """Every holder of a former owner that is alive has asked: nothing needs to be left for others."""
        self.roll.flow(now)
        self.roll.close()

    def sweep(self, now: float) -> None:
        """Forget holders whose starters have lapsed and accounts that are full. About once a second."""
        self.roll.flow(now)
        self.roll.expire(now)
        self.blank.flow(now)
        for account in self.accounts.values():
            account.flow(now)
        full = [k for k, each in self.accounts.items() if not each.books and each.pool >= self.blank.pool]
        for key in full:
            del self.accounts[key]

    def adopt(self, limit: Limit, now: float) -> None:
        """The limit has changed. A higher burst fills at the new rate; a lower one is in force when the excess of the
        old one has been spent or has lapsed."""
        self.roll.flow(now)
        for account in (self.blank, *self.accounts.values()):
            account.flow(now)
        self.roll.adopt(limit)

    def reservations(self, now: float) -> dict[str, float]:
        """What the store must say before more is granted, by key, for a slow limit. Then call `reserved`."""
        self.roll.flow(now)
        for account in self.accounts.values():
            account.flow(now)
        return {key: account.reservation() for key, account in self.accounts.items()}

    def reserved(self, floors: Mapping[str, float]) -> None:
        """The store says `floors`."""
        for key, floor in floors.items():
            if key in self.accounts:
                self.accounts[key].floor = floor

    def _account(self, key: str, now: float) -> Account:
        account = self.accounts.get(key)
        if account is None:
            self.blank.flow(now)
            floor = self.blank.pool if self.slow else -math.inf
            account = self.accounts[key] = Account(self.roll, self.blank.pool, floor)
        else:
            account.flow(now)
        return account

    def _payable(self, now: float) -> bool:
        """Whether all pools have paid for the starters that are promised."""
        pools = (self.blank, *self.accounts.values())
        for account in pools:
            account.flow(now)
        return all(account.pool >= max(0.0, account.floor) for account in pools)
