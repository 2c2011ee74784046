"""Finds out whether somebody is the user they say they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.identity.attempts import Attempts
from controlplane.identity.errors import BadCredentials, TooManyAttempts
from controlplane.identity.passwords import Hasher
from controlplane.model.resources import User

FindUser = Callable[[str], Awaitable[User | None]]
"""Reads a user with the password's hash from the store."""


class Users:
    """Checks credentials. `clock` gives monotonic seconds; at most `most` checks wait for their turn."""

    def __init__(
        self,
        find: FindUser,
        hasher: Hasher,
        clock: Callable[[], float],
        *,
        attempts: Attempts | None = None,
        most: int = 32,
    ) -> None:
        self._find = find
        self._hasher = hasher
        self._clock = clock
        self._attempts = attempts or Attempts()
        self._most = most
        self._under_way = 0

    async def authenticate(self, username: str, password: str) -> User:
        """The user with this name and password.

        Raises BadCredentials, TooManyAttempts, and the store's errors.
        """
        if self._under_way >= self._most:
            raise TooManyAttempts(1.0)
        self._under_way += 1
        try:
            return await self._authenticate(username, password)
        finally:
            self._under_way -= 1

    async def current(self, username: str) -> User:
        """The user as it is now; BadCredentials when it is gone or disabled."""
        user = await self._find(username)
        if user is None or user.disabled:
            raise BadCredentials
        return user

    async def _authenticate(self, username: str, password: str) -> User:
        user = await self._find(username)
        if wait := self._attempts.begin(username[:64], self._clock()):
            raise TooManyAttempts(wait)
        secret = user.password_hash if user else None
        right = await self._hasher.verify(password, secret.get_secret_value() if secret else None)
        if not right or user is None or user.disabled:
            raise BadCredentials
        self._attempts.succeeded(username[:64])
        return user
