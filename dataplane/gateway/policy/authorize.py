"""May this caller use this route? Makes the permit that the rest of the request line requires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataplane.gateway.policy.authenticate import MISSING, Unauthenticated
from dataplane.gateway.policy.permit import ANONYMOUS, Caller, Permit
from dataplane.gateway.policy.resources import Route, User

_NOTHING: frozenset[str] = frozenset()


class _Permit(Permit):
    __slots__ = ()

    def __init__(self, route: Route, caller: Caller, user: User | None, scopes: frozenset[str]) -> None:
        self.route = route
        self.caller = caller
        self.user = user
        self.scopes = scopes
        self.prepared = None


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The caller lacks `missing`; all of `route.scopes` are needed (RFC 6750, section 3.1: insufficient_scope)."""

    route: Route
    missing: frozenset[str]


def authorize(
    route: Route, caller: Caller, users: Mapping[str, User]
) -> Permit | Forbidden | Unauthenticated:
    """May `caller` (ANONYMOUS where no token was read) use `route`, given the `users` of this revision?

    A scope counts if the token grants it and the user still holds it: revoking a scope takes effect immediately, not
    when the token expires. The token of a user who is gone or disabled, or whose password was changed since, is refused
    like an expired one.
    """
    user = None if route.public else users.get(caller.subject)
    last = caller.last_permit
    if last is not None and last.route is route and last.user is user:
        return last
    return _decide(route, caller, user)


def _decide(route: Route, caller: Caller, user: User | None) -> Permit | Forbidden | Unauthenticated:
    if route.public:
        return _grant(route, caller, None, _NOTHING)
    if user is None or user.disabled:
        return MISSING if caller is ANONYMOUS else Unauthenticated(True, "user is disabled or does not exist")
    if caller.credentials and user.credentials and caller.credentials != user.credentials:
        return Unauthenticated(True, "the user's credentials changed after the token was issued")
    scopes = caller.scopes & user.scopes
    if not route.scopes <= scopes:
        return Forbidden(route, route.scopes - scopes)
    return _grant(route, caller, user, scopes)


def _grant(route: Route, caller: Caller, user: User | None, scopes: frozenset[str]) -> Permit:
    """Routes and users are frozen, so the same route and user give the same answer, which is kept for the next
    request."""
    permit = _Permit(route, caller, user, scopes)
    caller.last_permit = permit
    return permit
