"""What every control plane knows of ended logins and tokens: it follows the entries in the store.

Where the store does not answer, the last known state counts. What was seen stays known until it expires, also if the
store loses it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from controlplane.identity.revoked import PREFIX, Revoked
from controlplane.identity.tokens import Claims
from controlplane.store import Compacted, Entry, Store, StoreError

PAUSE = 1.0
"""Seconds between two attempts when the store fails."""

logger = logging.getLogger(__name__)


class Revoking(Protocol):
    """Ends logins and tokens. Implemented by `commands.adapters.StoredRevocations`."""

    async def revoke(self, username: str, ids: Sequence[str], now: float, until: float) -> None:
        """End them for all control planes. `until`: when the last of their tokens expires. Raises the store's
        errors."""


class Revocations:
    """The ended logins and tokens by user. `clock` gives Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._users: dict[str, Revoked] = {}

    def __len__(self) -> int:
        return sum(len(one.ids) for one in self._users.values())

    def ended(self, claims: Claims) -> bool:
        """Whether an access token that has not expired has ended."""
        found = self._users.get(claims.subject)
        return found is not None and found.covers(claims.session, claims.id, claims.issued)

    def note(self, username: str, revoked: Revoked) -> None:
        """Add what is known of a user."""
        joined = self._users.get(username, Revoked()).joined(revoked, self._clock())
        if joined.until:
            self._users[username] = joined

    async def read(self) -> int:
        """Read the store; return its revision. Raises the store's errors."""
        listing = await self._store.list(PREFIX)
        self._take(listing.entries)
        return listing.revision

    async def run(self) -> None:
        """Follow the store until cancelled."""
        said = ""
        while True:
            try:
                after = await self.read()
                async with aclosing(self._store.watch(PREFIX, after)) as batches:
                    said = ""
                    async for batch in batches:
                        self._take(batch.puts)
            except Compacted:
                continue
            except StoreError as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("ended logins cannot be followed", extra={"reason": said})
            await asyncio.sleep(PAUSE)

    def _take(self, entries: Sequence[Entry]) -> None:
        now = self._clock()
        self._users = {name: one for name, one in self._users.items() if one.until > now}
        for entry in entries:
            self.note(entry.key.removeprefix(PREFIX), Revoked.read(entry.value, now))
