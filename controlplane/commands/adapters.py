"""Implementations of other packages' store interfaces; they write by plans."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.commands.executor import Executor
from controlplane.commands.plans.membership import Join, Update, join, update
from controlplane.commands.plans.own import SIGNING_KEYS, KeepKeys, is_for, keep_keys
from controlplane.commands.plans.refresh_tokens import OfFamily, end, use
from controlplane.commands.plans.revocations import Revoke, revoke
from controlplane.fleet import members
from controlplane.fleet.members import Member as ControlPlane
from controlplane.identity import InvalidToken, Revocations, TooManyAttempts
from controlplane.identity.families import Member
from controlplane.identity.keys import KeyRing, generate, unwrap, wrap, wrapping_key
from controlplane.store import Conflict

AUTHOR = "controlplane"


class StoredMembership:
    """Implements `fleet.peers.Membership`: the entries of control planes in the store."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def join(self, name: str, member: ControlPlane | None, summary: bytes, ttl: float) -> int:
        """Write both keys under a new lease of so many seconds; return the lease. Raises store errors."""
        value = members.encode(member) if member is not None else None
        request = Join(author=name, name=name, member=value, summary=summary, seconds=ttl)
        return (await self._executor.run(join, request)).receipt

    async def update(self, name: str, summary: bytes, lease: int) -> None:
        """Replace the summary. Raises LeaseGone, store errors."""
        await self._executor.run(update, Update(author=name, name=name, summary=summary, held=lease))


class StoredFamilies:
    """Implements `identity.families.Rotation`: the families of refresh tokens.

    `lifetime`: seconds that a family lasts at most.
    """

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
        """End a family (RFC 7009). Raises TooManyAttempts as `use` does, and the store's errors."""
        try:
            await self._executor.run(end, self._request(username, member, now))
        except Conflict:
            raise TooManyAttempts(1.0) from None

    def _request(self, username: str, member: Member, now: float) -> OfFamily:
        return OfFamily(author=username, username=username, member=member, now=now, lifetime=self._lifetime)


class StoredRevocations:
    """Implements `identity.revocations.Revoking`. `known`: what this control plane knows, which has it at once."""

    def __init__(self, executor: Executor, known: Revocations) -> None:
        self._executor = executor
        self._known = known

    async def revoke(self, username: str, ids: Sequence[str], now: float, until: float) -> None:
        """End them for all control planes. Raises the store's errors.

        TooManyAttempts: other logins of this user end at the same moment, and this one has not ended.
        """
        request = Revoke(author=username, username=username, ids=tuple(ids), now=now, until=until)
        try:
            done = await self._executor.run(revoke, request)
        except Conflict:
            raise TooManyAttempts(1.0) from None
        self._known.note(username, done.receipt)


async def open_keys(
    executor: Executor, secret_key: str, *, issuer: str, audience: str, now: float
) -> KeyRing:
    """The signing keys, the first one created if there is none; for tokens of `issuer` for `audience`.

    Raises WrongSecretKey, InconsistentConfig when an entry is damaged, and the store's errors.
    """
    wrapping = wrapping_key(secret_key)
    while True:
        entries = (await executor.store.list(SIGNING_KEYS)).entries
        keys = [unwrap(entry, wrapping) for entry in entries]
        if keys and all(is_for(entry, issuer, audience) for entry in entries):
            return KeyRing(keys)
        first = None
        if not keys:
            # A tenth of a second of computing.
            key = await asyncio.to_thread(generate, now)
            first = {
                "kid": key.kid,
                "public": key.public,
                "private": wrap(key, wrapping),
                "created": now,
            }
        request = KeepKeys(author=AUTHOR, issuer=issuer, audience=audience, first=first)
        await executor.run(keep_keys, request)
