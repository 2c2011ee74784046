"""The token that etcd issues for user and password: requested when needed, once however many calls need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Authenticate = Callable[[str, str, float], Awaitable[str]]
"""User name, password and deadline (monotonic) → token; "" when etcd asks for none."""


class TokenCache:
    """Keeps one token until a call finds that etcd no longer accepts it (it expired, or etcd restarted)."""

    def __init__(self, username: str | None, password: str | None, authenticate: Authenticate) -> None:
        self._credentials = (username, password) if username and password else None
        self._authenticate = authenticate
        self._token: str | None = None
        self._asking = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there is a user and a password to get tokens with."""
        return self._credentials is not None

    async def current(self, deadline: float) -> str:
        """The token to send, "" for none. Raises AccessDenied for a wrong password, StoreUnavailable."""
        if self._credentials is None:
            return ""
        async with self._asking:
            if self._token is None:
                self._token = await self._authenticate(*self._credentials, deadline)
            return self._token

    def refuse(self, token: str) -> None:
        """etcd did not accept this token: get another one, unless another call did so already."""
        if self._token == token:
            self._token = None
