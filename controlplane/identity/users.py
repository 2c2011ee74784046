"""Verifies user names and passwords."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.identity.attempts import Attempts, Who, place
from controlplane.identity.errors import BadCredentials, TooManyAttempts
from controlplane.identity.passwords import Hasher
from controlplane.model.resources import User

FindUser = Callable[[str], Awaitable[User | None]]
"""Reads a user with the password's hash from the store."""


class Users:
    """Checks credentials. `clock` gives monotonic seconds."""

    def __init__(
        self,
        find: FindUser,
        hasher: Hasher,
        clock: Callable[[], float],
        *,
        attempts: Attempts | None = None,
    ) -> None:
        self._find = find
        self._hasher = hasher
        self._clock = clock
        self._attempts = attempts or Attempts()

    async def authenticate(self, username: str, password: str, address: str = "") -> User:
        """The user with this name and password, asked for from an IP address.

        Raises BadCredentials, TooManyAttempts, and the store's errors.
        """
        who = username[:64], place(address)
        if wait := self._attempts.wait(who, self._clock()):
            raise TooManyAttempts(wait)
        user = await self._find(username)
        secret = user.password_hash if user else None
        right = await self._hasher.verify(
            password,
            secret.get_secret_value() if secret else None,
            caller=who[1],
            begin=lambda: self._begin(who),
        )
        if not right or user is None or user.disabled:
            raise BadCredentials
        self._attempts.succeeded(who)
        return user

    async def current(self, username: str) -> User:
        """The user as it is now; BadCredentials when it is gone or disabled."""
        user = await self._find(username)
        if user is None or user.disabled:
            raise BadCredentials
        return user

    def _begin(self, who: Who) -> None:
        """Count the attempt only when it is checked: a refusal by the queue is not a wrong password."""
        if wait := self._attempts.begin(who, self._clock()):
            raise TooManyAttempts(wait)
