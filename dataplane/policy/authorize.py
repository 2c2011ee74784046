"""May this caller use this route: produces the permit that everything further down asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never

from dataplane.policy.authenticate import Caller, Unauthenticated
from dataplane.policy.resources import Route, User


class Permit:
    """Evidence that `caller` may use `route`. Only `authorize` makes it; it may be handed out again."""

    __slots__ = ("caller", "prepared", "route", "scopes", "user")

    route: Route
    caller: Caller
    user: User | None
    scopes: frozenset[str]
    """Effective scopes: the token's that the user still holds. Empty on public routes."""
    prepared: bytes | None
    """Room for the HTTP layer: the identity fields (X-Auth-...) of this permit, once rendered."""

    def __init__(self, made_by_authorize_only: Never) -> None:
        raise TypeError("only authorize() makes permits")


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The caller lacks scopes."""

    route: Route
    missing: frozenset[str]


def authorize(
    route: Route, caller: Caller, users: Mapping[str, User]
) -> Permit | Forbidden | Unauthenticated:
    """Check `caller` (ANONYMOUS where no token was sent or asked for) against `route`."""
    raise NotImplementedError
