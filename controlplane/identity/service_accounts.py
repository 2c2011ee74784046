"""Authentication of pods by their service-account tokens, with the keys of the cluster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from controlplane.identity.account_tokens import (
    AccountClaims,
    ClusterKeySet,
    Expected,
    check_expiry,
    read,
)
from controlplane.identity.cluster_keys import ClusterKeys

MOST_KNOWN = 25_000
"""Verified tokens that are remembered: the credential of each open stream is checked again every few seconds."""


class ServiceAccounts:
    """Verifies tokens. `clock` gives Unix seconds."""

    def __init__(
        self,
        keys: ClusterKeys,
        audience: str,
        issuers: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without `issuers`, the cluster's issuer is that of the control plane's own token."""
        self.keys = keys
        self._audience = audience
        self._issuers = issuers
        self._clock = clock
        self._known: dict[bytes, AccountClaims] = {}
        self._known_by: ClusterKeySet | None = None
        """The keys that the remembered tokens were verified with."""

    @property
    def problem(self) -> str:
        """The reason that the cluster's keys could not be read; empty if they were."""
        return self.keys.problem

    async def verify(self, token: bytes) -> AccountClaims:
        """The account of a valid token. Raises RefusedToken, and KeysUnavailable if it cannot be verified now."""
        digest = hashlib.sha256(token).digest()
        if (known := self._recall(digest)) is not None:
            return known
        unproven = read(token)
        # Before anything that depends on the API server: an expired token is refused even if that is down.
        check_expiry(unproven.expires, self._clock())
        unproven.check(self._expected(await self.keys.present()), self._clock())
        keys = await self.keys.having(unproven.kid)
        claims = unproven.prove(keys)
        self._remember(digest, claims, keys)
        return claims

    def _expected(self, keys: ClusterKeySet) -> Expected:
        return Expected(self._issuers or (keys.issuer,), self._audience)

    def _recall(self, digest: bytes) -> AccountClaims | None:
        if (keys := self.keys.current) is None or keys is not self._known_by:
            return None
        if (claims := self._known.get(digest)) is None or claims.expires <= self._clock():
            return None
        return claims

    def _remember(self, digest: bytes, claims: AccountClaims, keys: ClusterKeySet) -> None:
        if keys is not self._known_by:
            self._known, self._known_by = {}, keys
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[digest] = claims
