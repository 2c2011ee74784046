"""Authentication: reads the Authorization field, verifies bearer tokens, and caches verified ones.

Verifying a signature costs a hundred times as much as the rest of the request line, so verified tokens are cached until
they expire or are evicted. No subject has more than its share of the cache: ever new tokens of one evict that subject's
own. A token has one entry, however the field spells scheme and spaces: its key is the canonical spelling, "Bearer
<token>". Refusals are not cached: unauthenticated clients could evict callers with them. One authenticator serves one
set of verification keys; a change of keys drops the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from dataplane.gateway.policy import tokens
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.resources import VerificationKey

_BEARER: Final = "Bearer "
_ENTRY_OVERHEAD: Final = 1_024
"""Estimated bytes of a cache entry in addition to its key and the scopes."""
_SHARES: Final = 8
"""One subject has at most one in this many of a generation's entries, and of its bytes."""


@dataclass(frozen=True, slots=True)
class Unauthenticated:
    """The request has no caller. RFC 6750, section 3.1: the response has an error code only if the request had a
    token."""

    token_sent: bool
    reason: str = field(default="", compare=False)
    """Reason for the log; it holds nothing of the token."""


MISSING: Final = Unauthenticated(False)
INVALID: Final = Unauthenticated(True)


class _Held:
    """Tokens of one subject in the young generation."""

    __slots__ = ("keys", "size")

    def __init__(self) -> None:
        self.keys: deque[str] = deque()
        """The oldest first."""
        self.size = 0
        """In bytes."""


class Authenticator:
    """Verifies Authorization values against a set of keys."""

    def __init__(
        self,
        keys: Iterable[VerificationKey],
        max_cached: int = 10_000,
        max_bytes: int = 32 * 1024 * 1024,
        claims: frozenset[str] = frozenset(),
        hide: Callable[[str], str] = str,
        shown: frozenset[str] = frozenset(),
    ) -> None:
        """Raises ValueError naming a key that cannot be used.

        A caller keeps the `claims` that limits count by, each as `hide` replaces it, and those `shown` as they are.

        The cache holds at most `max_cached` tokens and about `max_bytes`, in two generations of half of that each. A
        full young generation becomes the old one, and the old one is dropped. An entry that is used moves back to the
        young one, so the least recently used are evicted, in O(1). A subject with more than its share (`_SHARES`) of
        the young generation evicts its own entries from that, the oldest first.
        """
        self._keys = tuple(keys)
        self._max_cached = max_cached
        self._max_bytes = max_bytes
        self._claims = claims
        self._hide = hide
        self._shown = shown
        self._young_bytes = 0
        verifiers = [tokens.Verifier(key) for key in self._keys]
        self._verifiers = {(verifier.issuer, verifier.kid): verifier for verifier in verifiers}
        if len(self._verifiers) < len(verifiers):
            raise ValueError("two verification keys have the same issuer and kid")
        self._young: dict[str | None, Caller] = {}
        self._held: dict[str, _Held] = {}
        """By subject, for the young generation."""
        self._old: dict[str | None, Caller] = {}

    def authenticate(self, authorization: str | None, wall_now: float) -> Caller | Unauthenticated:
        """The caller of an Authorization field's value (None if absent) at Unix time `wall_now`. Never raises."""
        # Other spellings than the canonical one miss here, and find their entry in `_look_closer`.
        caller = self._young.get(authorization)
        if caller is not None and wall_now < caller.expires:
            return caller
        return self._look_closer(authorization, wall_now)

    def known(self, authorization: str | None, wall_now: float) -> Caller | None:
        """The caller, if the token has been verified before: costs no signature."""
        token = _bearer_token(authorization)
        if token is None:
            return None
        key = _BEARER + token
        caller = self._young.get(key) or self._old.get(key)
        return caller if caller is not None and wall_now < caller.expires else None

    def changed(self, keys: Iterable[VerificationKey], claims: frozenset[str] | None = None) -> Authenticator:
        """This authenticator, cache and all, if keys and claims are the same in any order; else a new one.

        `claims` None: as before.
        """
        keys, claims = tuple(keys), self._claims if claims is None else claims
        same = len(keys) == len(self._keys) and set(keys) == set(self._keys)
        return self if same and claims == self._claims else self._with(keys, claims, self._shown)

    def showing(self, claims: frozenset[str]) -> Authenticator:
        """This authenticator, cache and all, if its callers keep these claims as they are; else a new one with which
        they do."""
        return self if claims <= self._shown else self._with(self._keys, self._claims, self._shown | claims)

    def _with(
        self, keys: tuple[VerificationKey, ...], claims: frozenset[str], shown: frozenset[str]
    ) -> Authenticator:
        return Authenticator(keys, self._max_cached, self._max_bytes, claims, self._hide, shown)

    def _look_closer(self, authorization: str | None, wall_now: float) -> Caller | Unauthenticated:
        token = _bearer_token(authorization)
        if token is None:
            return MISSING
        key = _BEARER + token
        caller = self._young.get(key) or self._old.get(key)
        if caller is None:
            try:
                caller = self._verify(token, wall_now)
            except tokens.BadToken as refused:
                return Unauthenticated(True, str(refused))
        if not wall_now < caller.expires:
            return Unauthenticated(True, "token has expired")
        self._keep(key, caller)
        return caller

    def _verify(self, text: str, wall_now: float) -> Caller:
        token, claims = tokens.parse(text)
        kid, issuer = token.protected.get("kid"), claims.get("iss")
        if not isinstance(kid, str) or not isinstance(issuer, str) or (issuer, kid) not in self._verifiers:
            raise tokens.BadToken("no verification key has this kid and iss")
        caller = Caller(
            tokens.subject(claims), tokens.scopes(claims), tokens.expiry(claims), tokens.credentials(claims)
        )
        self._verifiers[issuer, kid].verify(token, claims, wall_now)
        if self._claims:
            caller.claims = {name: self._hide(tokens.value(claims, name)) for name in self._claims}
        if self._shown:
            caller.shown = {name: tokens.shown(claims, name) for name in self._shown}
        return caller

    def _keep(self, key: str, caller: Caller) -> None:
        if key in self._young:
            return
        size = _size(key)
        held = self._held.get(caller.subject)
        if held is None:
            held = self._held[caller.subject] = _Held()
        while held.keys and (
            len(held.keys) * 2 * _SHARES >= self._max_cached
            or (held.size + size) * 2 * _SHARES > self._max_bytes
        ):
            oldest = held.keys.popleft()
            del self._young[oldest]
            held.size -= _size(oldest)
            self._young_bytes -= _size(oldest)
        if len(self._young) * 2 >= self._max_cached or (self._young_bytes + size) * 2 > self._max_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
            held = _Held()
            self._held = {caller.subject: held}
        self._young[key] = caller
        self._young_bytes += size
        held.keys.append(key)
        held.size += size


def _size(key: str) -> int:
    # The scopes are a part of the token, so they are not longer than it.
    return 2 * len(key) + _ENTRY_OVERHEAD


def canonical(authorization: str) -> str:
    """The canonical spelling of an Authorization value: schemes ignore case, and several blanks equal one (RFC 9110,
    11.1, 11.4)."""
    words = authorization.split(None, 1)
    return " ".join((words[0].lower(), *words[1:])) if words else ""


def _bearer_token(authorization: str | None) -> str | None:
    """The token of "Bearer" 1*SP token (RFC 6750, 2.1; RFC 9110, 11.4); None if absent or of another scheme.

    Schemes have no case (RFC 9110, 11.1).
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") or None if scheme.lower() == "bearer" else None
