"""Passwords are stored as argon2id hashes (RFC 9106), and compared so that a caller cannot learn which users exist."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from controlplane.identity.turns import Turns

T = TypeVar("T")

LONGEST = 128
"""Most characters; a longer password matches no hash."""


class Hasher:
    """Hashes and compares in threads, a few at a time: each takes 64 MiB and tens of milliseconds.

    The parameters are RFC 9106's second recommendation; smaller ones are for tests. `turns` orders the callers.
    """

    def __init__(
        self,
        *,
        time_cost: int = 3,
        memory_cost: int = 65_536,
        parallelism: int = 4,
        turns: Turns | None = None,
    ) -> None:
        self._argon2 = PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
        self._turns = turns or Turns(2)
        self._nobody = _unknown_password(time_cost, memory_cost, parallelism)

    async def hash(self, password: str) -> str:
        """A new hash in PHC form, with a salt of its own."""
        async with self._turns.take(None):
            return await _in_thread(lambda: self._argon2.hash(password))

    async def verify(
        self,
        password: str,
        password_hash: str | None,
        *,
        caller: str | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whether the hash was made from the password. Returns false without a hash, at the same cost.

        `caller` names the caller in the queue, None for the control plane itself; `begin` is called when its turn
        comes, and may raise. Raises TooManyAttempts when the queue is too long.
        """
        fits = password_hash is not None and len(password) <= LONGEST
        async with self._turns.take(caller):
            begin()
            same = await _in_thread(lambda: self._same(password[:LONGEST], password_hash or self._nobody))
        return same and fits

    def _same(self, password: str, password_hash: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False


async def _in_thread(work: Callable[[], T]) -> T:
    """Run off the event loop. A thread cannot be cancelled: a cancelled caller waits for it, and keeps its turn."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _unknown_password(time_cost: int, memory_cost: int, parallelism: int) -> str:
    """A hash that no known password has, made without hashing: salt and digest are random."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={memory_cost},t={time_cost},p={parallelism}${salt}${digest}"
