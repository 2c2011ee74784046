"""Who is calling: reads the Authorization field, verifies bearer tokens, and remembers those it verified.

Verifying a signature costs as much as the rest of the request line a hundred times over, so verified values are kept,
by the whole field value, until they expire or are crowded out. Refusals are not kept: they would let strangers crowd
out callers. A key that leaves the configuration takes its cache with it: one authenticator serves one set of keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from dataplane.gateway.policy import tokens
from dataplane.gateway.policy.resources import VerificationKey

if TYPE_CHECKING:
    from dataplane.gateway.policy.authorize import Permit


class Unauthenticated(Enum):
    """Why there is no caller. RFC 6750, section 3.1: the error code is told only to those who sent a token."""

    MISSING = "missing"
    INVALID = "invalid"


class Caller:
    """A verified token's bearer. `expires` is Unix time; `last_permit` belongs to `authorize`."""

    __slots__ = ("credentials", "expires", "last_permit", "scopes", "subject")

    def __init__(self, subject: str, scopes: frozenset[str], expires: float, credentials: str = "") -> None:
        self.subject = subject
        self.scopes = scopes
        self.expires = expires
        self.credentials = credentials
        self.last_permit: Permit | None = None

    def __repr__(self) -> str:
        return f"Caller({self.subject!r}, {sorted(self.scopes)}, expires={self.expires})"


ANONYMOUS = Caller("", frozenset(), float("inf"))
"""Whoever uses a public route."""


class Authenticator:
    """Verifies Authorization values against a set of keys."""

    def __init__(self, keys: Iterable[VerificationKey], max_cached: int = 10_000) -> None:
        """Raises ValueError naming a key that cannot be used.

        The cache has two generations of half of `max_cached` each: when the young one is full it becomes the old one,
        and the old one is dropped. What is in use moves back to the young one: the least recently used go, at O(1).
        """
        self._keys = tuple(keys)
        self._max_cached = max_cached
        verifiers = [tokens.Verifier(key) for key in self._keys]
        self._verifiers = {(verifier.issuer, verifier.kid): verifier for verifier in verifiers}
        if len(self._verifiers) < len(verifiers):
            raise ValueError("two verification keys have the same issuer and kid")
        self._young: dict[str | None, Caller] = {}
        self._old: dict[str | None, Caller] = {}

    def authenticate(self, authorization: str | None, wall_now: float) -> Caller | Unauthenticated:
        """The caller behind an Authorization field's value (None if absent) at Unix time `wall_now`. Never raises."""
        caller = self._young.get(authorization)
        if caller is not None and wall_now < caller.expires:
            return caller
        return self._look_closer(authorization, wall_now)

    def changed(self, keys: Iterable[VerificationKey]) -> Authenticator:
        """This authenticator, cache and all, if `keys` are the same in any order; else a new one."""
        keys = tuple(keys)
        same = len(keys) == len(self._keys) and set(keys) == set(self._keys)
        return self if same else Authenticator(keys, self._max_cached)

    def _look_closer(self, authorization: str | None, wall_now: float) -> Caller | Unauthenticated:
        token = _bearer_token(authorization)
        if token is None:
            return Unauthenticated.MISSING
        caller = self._old.get(authorization)
        if caller is None:
            try:
                caller = self._verify(token, wall_now)
            except tokens.Refused:
                return Unauthenticated.INVALID
        if not wall_now < caller.expires:
            return Unauthenticated.INVALID
        self._remember(authorization, caller)
        return caller

    def _verify(self, text: str, wall_now: float) -> Caller:
        token, claims = tokens.parse(text)
        kid, issuer = token.protected.get("kid"), claims.get("iss")
        if not isinstance(kid, str) or not isinstance(issuer, str) or (issuer, kid) not in self._verifiers:
            raise tokens.Refused("no such key")
        caller = Caller(
            tokens.subject(claims), tokens.scopes(claims), tokens.expiry(claims), tokens.credentials(claims)
        )
        self._verifiers[issuer, kid].verify(token, claims, wall_now)
        return caller

    def _remember(self, authorization: str | None, caller: Caller) -> None:
        if len(self._young) * 2 >= self._max_cached:
            self._old, self._young = self._young, {}
        self._young[authorization] = caller


def _bearer_token(authorization: str | None) -> str | None:
    """The token of `Bearer <token>`; None if the field is absent or of another scheme (RFC 9110, 11.1: any case)."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") or None if scheme.lower() == "bearer" else None
