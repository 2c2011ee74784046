"""The families of refresh tokens in the store, as `identity.Grants` uses them."""

from __future__ import annotations

from controlplane.commands.executor import Executor
from controlplane.commands.plans.refresh_tokens import OfFamily, end, use
from controlplane.identity import InvalidToken, TooManyAttempts
from controlplane.identity.families import Member
from controlplane.store import Conflict


class StoredFamilies:
    """Implements `identity.families.Rotation`. `lifetime`: seconds that a family lasts at most."""

    def __init__(self, executor: Executor, lifetime: float) -> None:
        self._executor = executor
        self._lifetime = lifetime

    async def use(self, username: str, member: Member, now: float) -> Member:
        """Use a token up; return the next one of its family. Raises InvalidToken, and the store's errors.

        A token that was used before ends its family. TooManyAttempts: other logins of this user are renewed at the same
        moment, and nothing was used up.
        """
        try:
            done = await self._executor.run(use, self._request(username, member, now))
        except Conflict:
            raise TooManyAttempts(1.0) from None
        if done.receipt is None:
            raise InvalidToken
        return done.receipt

    async def end(self, username: str, member: Member, now: float) -> None:
        """End a family (RFC 7009). Raises InvalidToken, and the store's errors."""
        await self._executor.run(end, self._request(username, member, now))

    def _request(self, username: str, member: Member, now: float) -> OfFamily:
        return OfFamily(author=username, username=username, member=member, now=now, lifetime=self._lifetime)
