"""The keys with which a cluster signs service-account tokens: read regularly, and at once for a key that is new.

One task does all reading: callers that present unknown key ids hasten the next one, but no more often than every `GAP`
seconds. While the API server does not answer, the last keys stay in force, up to `MOST_AGE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable

from controlplane.identity.account_tokens import ClusterKeySet, UnusableKeys, read_keys

logger = logging.getLogger(__name__)

REFRESH = 300.0
"""Seconds after which the keys are read again: for so long a key that the cluster has withdrawn is accepted."""
GAP = 10.0
"""Least seconds between two readings that callers cause."""
MOST_AGE = 86_400.0
"""Seconds after which keys that could not be read again are not used any more."""
PATIENCE = 4.0
"""Seconds that calls wait for a reading, from its beginning on: those that come one after the other wait no longer than
one. The SDK gives up after five."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the next try after a failure: the first pause, doubled by each further failure."""

Published = tuple[bytes, str]
"""A JWK set, and the issuer of the cluster's tokens, empty if it is not known."""


class KeysUnavailable(Exception):
    """The keys cannot be read; the message says why."""


class ClusterKeys:
    """`fetch` reads the published keys, and raises KeysUnavailable. `clock` gives monotonic seconds."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Published]],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.problem = "they have not been read yet"
        """The reason that the last reading failed; empty if it did not."""
        self._fetch = fetch
        self._clock = clock
        self._chance = chance
        self._published: Published | None = None
        self._keys: ClusterKeySet | None = None
        self._read = 0.0
        """Time of the last reading that succeeded."""
        self._tried = 0.0
        """Time at which the last reading ended."""
        self._begun = clock()
        """Time from which on callers wait for the reading that is under way."""
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        """No reading is under way or wanted."""

    @property
    def current(self) -> ClusterKeySet | None:
        """The keys; None while there are none, or only ones that are too old. Another object if they have changed."""
        if self._keys is None or self._clock() - self._read > MOST_AGE:
            return None
        return self._keys

    async def present(self) -> ClusterKeySet:
        """The keys; waits for the first ones. Raises KeysUnavailable."""
        if self.current is None:
            await self._again()
        if (keys := self.current) is None:
            raise KeysUnavailable(self.problem)
        return keys

    async def having(self, kid: str) -> ClusterKeySet:
        """The keys, read again if this one is not among them and they are not new.

        Raises KeysUnavailable, also if they could not be read again: the cluster may have the key by now.
        """
        keys = await self.present()
        if kid in keys.keys:
            return keys
        await self._again()
        keys = self.current or keys
        if kid not in keys.keys and (self.problem or not self._settled.is_set()):
            raise KeysUnavailable(self.problem or "the API server has not answered yet")
        return keys

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled."""
        failures = 0
        while True:
            failures = 0 if await self._try() else failures + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause(failures)):
                    await self._wanted.wait()

    def _pause(self, failures: int) -> float:
        if not failures:
            return REFRESH * (1 + self._chance() / 10)
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)) * (0.5 + self._chance() / 2)

    async def _again(self) -> None:
        """Wait for the reading that is under way, or for one that is due to the caller."""
        if self._settled.is_set():
            if self._clock() - self._tried < GAP:
                return
            self._begin()
            self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._begun + PATIENCE - self._clock()):
                await self._settled.wait()

    def _begin(self) -> None:
        """A reading begins, or is wanted. Those that are under way go on."""
        if self._settled.is_set():
            self._settled.clear()
            self._begun = self._clock()

    async def _try(self) -> bool:
        self._begin()
        try:
            self._adopt(await self._fetch())
        except (KeysUnavailable, UnusableKeys) as error:
            self._note(str(error))
            return False
        except Exception:
            logger.exception("reading the cluster's keys failed")
            self._note("internal error; see the control plane's log")
            return False
        else:
            self._note("")
            return True
        finally:
            self._tried = self._clock()
            self._wanted.clear()
            self._settled.set()

    def _adopt(self, published: Published) -> None:
        if published != self._published:
            self._keys, self._published = read_keys(*published), published
            extra = {"count": len(self._keys.keys), "issuer": self._keys.issuer}
            logger.info("the cluster's keys for service-account tokens were read", extra=extra)
        self._read = self._clock()

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            logger.warning("the cluster's keys cannot be read", extra={"reason": problem})
        self.problem = problem
