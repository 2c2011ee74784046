"""Who is calling: verifies bearer tokens, and remembers the ones it verified."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from dataplane.policy.resources import VerificationKey

if TYPE_CHECKING:
    from dataplane.policy.authorize import Permit


class Unauthenticated(Enum):
    """Why there is no caller. RFC 6750, section 3.1: the error code is told only to those who sent a token."""

    MISSING = "missing"
    INVALID = "invalid"


class Caller:
    """A verified token's bearer."""

    __slots__ = ("expires", "last_permit", "scopes", "subject")

    def __init__(self, subject: str, scopes: frozenset[str], expires: float) -> None:
        self.subject = subject
        self.scopes = scopes
        self.expires = expires
        self.last_permit: Permit | None = None


ANONYMOUS = Caller("", frozenset(), float("inf"))


class Authenticator:
    """Verifies `Authorization` values against a set of keys."""

    def __init__(self, keys: Iterable[VerificationKey], max_cached: int = 10_000) -> None:
        """Raises ValueError naming the key that cannot be used."""
        raise NotImplementedError

    def authenticate(self, authorization: str | None, wall_now: float) -> Caller | Unauthenticated:
        """The caller behind an `Authorization` value at Unix time `wall_now`. Never raises."""
        raise NotImplementedError

    def changed(self, keys: Iterable[VerificationKey]) -> Authenticator:
        """This authenticator with its cache if `keys` are the same, else a new one."""
        raise NotImplementedError
