"""Operations of a session of the dashboard: who is logged in, log in, renew, log out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from starlette.responses import Response

from controlplane.api import auth, body, session
from controlplane.api.answers import json_answer
from controlplane.api.caller import address_of
from controlplane.api.operation import ADMIN, READ, Access, Answer, Body, Call, Operation
from controlplane.api.problems import HttpError, unauthorized
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.session import LoginShape, SessionShape
from controlplane.identity import BadCredentials, Grants, InvalidScope, LacksScope, Tokens

OURS = "gateway:"
"""Scopes that begin so give rights on the gateway itself; a session holds no others."""
_LOOKING = (READ, ADMIN)
_NO_STORE = {"Cache-Control": "no-store"}


async def who(call: Call) -> Response:
    """The session of the request's cookie: 200 also without one, which the shape says."""
    _require_dashboard(call)
    return json_answer((await _shown(call)).model_dump(), headers=_NO_STORE)


async def login(call: Call) -> Response:
    """Exchange a name and a password for cookies."""
    _require_dashboard(call)
    _require_private(call)
    session.require_own_page(call.request)
    sent = await body.document(call.request, body.MOST_LOGIN_BYTES)
    username, password = sent.get("username"), sent.get("password")
    if not (
        isinstance(username, str) and isinstance(password, str) and set(sent) <= {"username", "password"}
    ):
        raise HttpError(400, "Send username and password")
    address = address_of(call.request, call.parts.trusted_proxies)
    try:
        scopes = await _scopes(call, username)
        tokens = await _grants(call).password(username, password, scopes, address, _LOOKING)
    except (BadCredentials, InvalidScope) as error:
        raise unauthorized(str(error), token_was_sent=False) from None
    except LacksScope as error:
        raise _blind(error) from None
    call.record.author = username
    return _begun(call, tokens)


async def renew(call: Call) -> Response:
    """New cookies before the old ones end."""
    _require_dashboard(call)
    _require_private(call)
    session.require_own_page(call.request)
    if not (token := session.refresh_token(call.request, call.parts.trusted_proxies)):
        raise unauthorized("there is no session", token_was_sent=False)
    try:
        tokens = await _grants(call).refresh(token, needs=_LOOKING)
    except (BadCredentials, InvalidScope) as error:
        raise unauthorized(str(error), token_was_sent=True) from None
    except LacksScope as error:
        raise _blind(error) from None
    return _begun(call, tokens)


async def logout(call: Call) -> Response:
    """End the login and its access tokens, and remove the cookies."""
    _require_dashboard(call)
    session.require_own_page(call.request)
    trusted = call.parts.trusted_proxies
    # The cookie of the access token may be of another login, or be the only one. It comes first: it says how long the
    # end of its login has to be remembered.
    for sent in session.credentials(True, call.request, trusted):
        await _grants(call).leave(sent.removeprefix("Bearer "))
    if token := session.refresh_token(call.request, trusted):
        await _grants(call).revoke(token)
    response = Response(status_code=204, headers=_NO_STORE)
    session.end(response, call.request, call.parts.trusted_proxies)
    return response


def _begun(call: Call, tokens: Tokens) -> Response:
    claims = call.parts.issuer().verify(tokens.access_token)
    shape = SessionShape(
        username=claims.subject,
        read=bool(claims.scopes & {READ, ADMIN}),
        write=ADMIN in claims.scopes,
        scopes=sorted(claims.scopes),
        expires=moment(claims.expires),
        seconds=tokens.expires_in,
        renewable=tokens.refresh_token is not None,
        version=call.parts.version,
    )
    response = json_answer(shape.model_dump(), headers=_NO_STORE)
    kept = {"": (tokens.access_token, tokens.expires_in)}
    if tokens.refresh_token:
        kept["-renew"] = (tokens.refresh_token, call.parts.refresh_ttl)
    session.begin(response, call.request, call.parts.trusted_proxies, kept)
    return response


def _blind(error: LacksScope) -> HttpError:
    return HttpError(403, f"User {error.username!r} needs the scope {READ} to look, and {ADMIN} to act")


async def _shown(call: Call) -> SessionShape:
    """Rights by the rules of every other request, so that page and API never disagree."""
    read, write = await _allowed(call, READ), await _allowed(call, ADMIN)
    # A token of the request's own comes before the cookie, which then says nothing.
    own = "authorization" in call.request.headers
    found = [] if own else session.credentials(True, call.request, call.parts.trusted_proxies)
    username, seconds, expires, scopes = None, 0, None, []
    if found and read is not None:
        claims = call.parts.issuer().verify(found[0].removeprefix("Bearer "))
        username, expires, scopes = claims.subject, moment(claims.expires), sorted(claims.scopes)
        seconds = max(0, int(claims.expires - time.time()))
    return SessionShape(
        username=username,
        read=read is not None,
        write=write is not None,
        scopes=scopes,
        expires=expires,
        seconds=seconds,
        renewable=bool(session.refresh_token(call.request, call.parts.trusted_proxies)),
        version=call.parts.version,
    )


async def _allowed(call: Call, access: Access) -> str | None:
    try:
        return await auth.author(call.parts, call.request, access)
    except HttpError as error:
        if error.status in (401, 403):
            return None
        raise


async def _scopes(call: Call, username: str) -> str | None:
    """Cookies are small: the session asks only for scopes on the gateway itself, as far as the user holds some."""
    user = await call.parts.find_user(username)
    held: Sequence[str] = [name for name in user.scopes if name.startswith(OURS)] if user else ()
    return " ".join(held) or None


def _require_dashboard(call: Call) -> None:
    if not call.parts.dashboard:
        raise HttpError(404, "The dashboard is switched off (DASHBOARD=false)")
    call.parts.issuer()  # or 503: still starting


def _require_private(call: Call) -> None:
    if not session.is_private(call.request, call.parts.trusted_proxies):
        raise HttpError(403, session.INSECURE)


def _grants(call: Call) -> Grants:
    assert call.parts.grants is not None
    return call.parts.grants


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    made = Answer(200, "Cookies are set; the rights of the session", SessionShape)
    yield Operation(
        method="GET",
        path=session.PATH,
        handler=who,
        access="public",
        id="getSession",
        summary="The session of the dashboard, if there is one, and its rights",
        answers=(Answer(200, "Without a session: no username, and the rights without one", SessionShape),),
        tag="dashboard",
        refusals=(403, 404, 503),
    )
    yield Operation(
        method="POST",
        path=session.PATH,
        handler=login,
        access="public",
        id="login",
        summary="Log in to the dashboard: sets cookies; only over TLS or on loopback",
        answers=(made,),
        tag="dashboard",
        body=Body(LoginShape, example={"username": "admin", "password": "the password of admin"}),
        refusals=(401, 403, 404, 429, 503),
    )
    yield Operation(
        method="DELETE",
        path=session.PATH,
        handler=logout,
        access="public",
        id="logout",
        summary="Log out of the dashboard",
        answers=(Answer(204, "The login has ended, and the cookies are removed"),),
        tag="dashboard",
        refusals=(403, 404, 503),
    )
    yield Operation(
        method="POST",
        path=f"{session.PATH}/renew",
        handler=renew,
        access="public",
        id="renewSession",
        summary="Renew the session before it ends",
        answers=(made,),
        tag="dashboard",
        refusals=(401, 403, 404, 503),
    )
