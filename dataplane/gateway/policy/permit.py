"""A caller, and the evidence that a caller may use a route. `authenticate` makes callers, and `authorize` makes the
evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Never

from dataplane.gateway.policy.resources import Route, User

_NO_CLAIMS: Final[Mapping[str, str]] = {}


class Caller:
    """A verified token's bearer. `expires` is Unix time; `last_permit` belongs to `authorize`."""

    __slots__ = ("claims", "credentials", "expires", "last_permit", "scopes", "shown", "subject")

    def __init__(
        self,
        subject: str,
        scopes: frozenset[str],
        expires: float,
        credentials: str = "",
        claims: Mapping[str, str] = _NO_CLAIMS,
    ) -> None:
        self.subject = subject
        self.claims = claims
        """Hidden values of the token's claims that limits count by, by claim name; only claims that the token has."""
        self.shown: Mapping[str, str] = _NO_CLAIMS
        """Values of the claims that edits of header fields name."""
        self.scopes = scopes
        self.expires = expires
        self.credentials = credentials
        self.last_permit: Permit | None = None

    def __repr__(self) -> str:
        return f"Caller({self.subject!r}, {sorted(self.scopes)}, expires={self.expires})"


ANONYMOUS = Caller("", frozenset(), float("inf"))
"""The caller on a public route."""


class Permit:
    """Evidence that `caller` may use `route`. Only `authorize` makes it; the caller's next request may get it too."""

    __slots__ = ("caller", "prepared", "route", "scopes", "user")

    route: Route
    caller: Caller
    user: User | None
    """The caller's user as of this permit; None on public routes."""
    scopes: frozenset[str]
    """Scopes that the token grants and the user still holds; empty on public routes."""
    prepared: object | None
    """The identity fields sent to instances for this caller, once prepared."""

    def __init__(self, made_by_authorize_only: Never) -> None:
        raise TypeError("only authorize() may create permits")

    def __repr__(self) -> str:
        return f"Permit({self.route.name!r}, {self.caller!r}, scopes={sorted(self.scopes)})"
