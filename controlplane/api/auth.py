"""Authentication and authorization of requests: our bearer tokens (RFC 6750), and the demo's local reads.

A token names its user and the scopes it was issued for. The user's present state decides: a deleted or disabled user is
refused, a new password ends the tokens issued before it, a logout those of its login, and a revoked scope no longer
counts. The watcher's view is read first; before a refusal the store itself is read, because the view may be a moment
behind.
"""

from __future__ import annotations

from starlette.requests import Request

from controlplane.api import session
from controlplane.api.machine import from_this_machine
from controlplane.api.operation import ADMIN, READ, TAP, Access
from controlplane.api.parts import Parts
from controlplane.api.problems import HttpError, forbidden, unauthorized
from controlplane.identity import Claims, EndedToken, ExpiredToken, InvalidToken
from controlplane.model.resources import User
from controlplane.store import StoreError

ANONYMOUS = "(anonymous)"
"""No user can have this name."""
_MISSING = "the request has no token: Authorization: Bearer TOKEN, once"
_FOREIGN = "the token is not an access token of this gateway"
_ENDED = "since the token was issued, its user was deleted or disabled, or got another password"
_IMPLIED = {ADMIN: frozenset({ADMIN, READ})}


async def author(parts: Parts, request: Request, access: Access) -> str:
    """The name of the caller, if authorized; HttpError 401 or 403 otherwise."""
    if access == "public":
        return ANONYMOUS
    sent = request.headers.getlist("authorization") or session.credentials(
        parts.dashboard, request, parts.trusted_proxies
    )
    if not sent and access == READ and parts.anonymous_read and from_this_machine(request):
        return ANONYMOUS
    claims = _verify(parts, sent)
    if not _holds(claims, _watched(parts, claims.subject), access):
        user = await parts.find_user(claims.subject)
        if user is None or user.disabled or not claims.of(user):
            raise unauthorized(_ENDED, token_was_sent=True)
        if not _holds(claims, user, access):
            held = claims.scopes & frozenset(user.scopes)
            raise forbidden(access, claims.subject, held, _advice(access, user))
    return claims.subject


def _advice(access: Access, user: User) -> str:
    """What to do about a missing scope that no other scope implies, and that users of earlier versions lack."""
    if access != TAP:
        return ""
    if access in user.scopes:
        return "; log in again"
    return f"; no other scope implies it: give it to user {user.username!r} (headgate edit user), and log in again"


async def lost(parts: Parts, request: Request, access: Access) -> HttpError | None:
    """Why a caller who was authorized no longer is: the token has expired, or the user may not any more."""
    try:
        await author(parts, request, access)
    except HttpError as refused:
        return refused
    except StoreError:
        return None  # the watcher's view could not tell, and the store does not answer
    return None


def _verify(parts: Parts, sent: list[str]) -> Claims:
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise unauthorized(_MISSING, token_was_sent=False)
    try:
        return parts.issuer().verify(token.strip())
    except (ExpiredToken, EndedToken) as error:
        raise unauthorized(str(error), token_was_sent=True) from None
    except InvalidToken:
        raise unauthorized(_FOREIGN, token_was_sent=True) from None


def _watched(parts: Parts, username: str) -> User | None:
    stamped = parts.watcher.current and parts.watcher.current.resources.get(("user", username))
    return stamped.resource if stamped and isinstance(stamped.resource, User) else None


def _holds(claims: Claims, user: User | None, access: Access) -> bool:
    if user is None or user.disabled or not claims.of(user):
        return False
    effective = claims.scopes & frozenset(user.scopes)
    return any(access in _IMPLIED.get(scope, {scope}) for scope in effective)
