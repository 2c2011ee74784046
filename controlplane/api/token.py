"""The token endpoint (RFC 6749), revocation (RFC 7009) and the public keys (RFC 7517).

The guide's curl sends a username and a password and nothing else, so `grant_type` may be left out, and no client
has to name itself. Errors have the form of RFC 6749 §5.2, which OAuth clients know, not that of a problem.
`docs/reference/oauth.md` goes through the RFCs, requirement by requirement.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response

from controlplane.api import body
from controlplane.api.answers import json_answer
from controlplane.api.body import FORM
from controlplane.api.caller import address_of
from controlplane.api.explain import explain
from controlplane.api.operation import ROOT, Answer, Body, Call, Operation
from controlplane.api.problems import HttpError
from controlplane.api.shapes.tokens import TokenErrorShape, TokenShape
from controlplane.identity import BadCredentials, Grants, InvalidScope, InvalidToken, Tokens

_TEXT = {"type": "string"}
_TOKEN_FORM = {
    "type": "object",
    "properties": {
        "grant_type": {"enum": ["password", "client_credentials", "refresh_token"], "default": "password"},
        "username": {**_TEXT, "description": "For the grant password."},
        "password": {**_TEXT, "format": "password", "description": "For the grant password."},
        "client_id": {
            **_TEXT,
            "description": "The name of a user. For the grant client_credentials, unless Authorization has it.",
        },
        "client_secret": {
            **_TEXT,
            "format": "password",
            "description": "The password of that user. With it, in any grant, the client authenticates itself.",
        },
        "refresh_token": {**_TEXT, "description": "For the grant refresh_token. Good for one use."},
        "scope": {**_TEXT, "description": "Scopes, separated by spaces; by default all scopes of the user."},
    },
}
_REVOCATION_FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {**_TEXT, "description": "A refresh token."},
        "token_type_hint": {**_TEXT, "description": "Ignored."},
    },
}
_TOKEN_EXAMPLE = {"grant_type": "password", "username": "testuser", "password": "testpass"}
_REVOCATION_EXAMPLE = {"token": "the refresh_token of a login"}
_JWKS = {"type": "object", "properties": {"keys": {"type": "array", "items": {"type": "object"}}}}
_OBJECT = {"type": "object"}

_DESCRIBABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""Characters that an error_description must not contain (§5.2)."""
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(
        self, code: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.code = code
        self.status = status
        self.headers = dict(headers or {})


async def token(call: Call) -> Response:
    """Exchanges a form for tokens."""
    return await _answered(call, lambda form: _grant(call, form))


async def revoke(call: Call) -> Response:
    """Ends the login that a refresh token belongs to."""
    return await _answered(call, lambda form: _revoke(call, form))


async def _answered(
    call: Call, handle: Callable[[Mapping[str, str]], Awaitable[dict[str, object]]]
) -> Response:
    try:
        form = await body.form(call.request)
        # A parameter without a value is treated as left out (§3.2).
        answer = await handle({name: value for name, value in form.items() if value})
    except Exception as error:
        told = _oauth_error(error)
        if told is None:
            raise
        document = {"error": told.code, "error_description": _DESCRIBABLE.sub("'", str(told))}
        return json_answer(document, told.status, headers={**told.headers, **_NO_STORE})
    return json_answer(answer, headers=_NO_STORE)


async def jwks(call: Call) -> Response:
    """The keys that verify our tokens."""
    # Public: programs that verify tokens have none. Cached for a short time, so that a new key is soon known.
    return json_answer(call.parts.issuer().jwks(), headers={"Cache-Control": "public, max-age=60"})


async def _grant(call: Call, form: Mapping[str, str]) -> dict[str, object]:
    call.parts.issuer()  # or 503: still starting
    grants, scope = _grants(call), form.get("scope")
    address = address_of(call.request, call.parts.trusted_proxies)
    match form.get("grant_type", "password"):
        case "password":
            username, password = _needed(form, "username"), _needed(form, "password")
            await _known_client(call, form, address)
            tokens = await grants.password(username, password, scope, address)
            # Logged only now: people type passwords into the wrong field.
            call.record.author = username
            return _shown(tokens)
        case "client_credentials":
            client, secret = _client(call.request, form) or _in_form(form)
            tokens = await _as_client(grants.client_credentials(client, secret, scope, address))
            call.record.author = client
            return _shown(tokens)
        case "refresh_token":
            token = _needed(form, "refresh_token")
            await _known_client(call, form, address)
            return _shown(await grants.refresh(token, scope))
    raise OAuthError(
        "unsupported_grant_type", "grant_type must be password, client_credentials or refresh_token"
    )


async def _revoke(call: Call, form: Mapping[str, str]) -> dict[str, object]:
    """An access token alone cannot be revoked: data planes would accept it until it expires."""
    call.parts.issuer()
    token = _needed(form, "token")
    await _known_client(call, form, address_of(call.request, call.parts.trusted_proxies))
    try:
        call.parts.issuer().verify(token)
    except InvalidToken:
        await _grants(call).revoke(token)
        return {}
    raise OAuthError("unsupported_token_type", "only refresh tokens can be revoked")


def _grants(call: Call) -> Grants:
    assert call.parts.grants is not None
    return call.parts.grants


async def _known_client(call: Call, form: Mapping[str, str], address: str) -> None:
    """Clients need not authenticate for these grants, but a wrong authentication is refused (§3.2.1, §4.3.2, §6).

    An access token in the header does not authenticate a client, and some send it with everything.
    """
    if call.request.headers.get("authorization", "basic").partition(" ")[0].lower() != "basic":
        return
    if (client := _client(call.request, form)) is not None:
        await _as_client(_grants(call).client_credentials(*client, address=address))


async def _as_client(granting: Awaitable[Tokens]) -> Tokens:
    try:
        return await granting
    except BadCredentials:
        raise _bad_client("wrong client id or secret") from None


def _oauth_error(error: Exception) -> OAuthError | None:
    match error:
        case OAuthError():
            return error
        case BadCredentials():
            return OAuthError("invalid_grant", str(error))
        case InvalidScope():
            return OAuthError("invalid_scope", str(error))
    refused = explain(error, writing=False)
    return _translated(refused) if refused else None


def _translated(refused: HttpError) -> OAuthError:
    later = refused.status == 429 or refused.status >= 500
    code = "temporarily_unavailable" if later else "invalid_request"
    return OAuthError(code, refused.detail, refused.status, refused.headers)


def _needed(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthError("invalid_request", f"{name} is missing")
    return form[name]


def _in_form(form: Mapping[str, str]) -> tuple[str, str]:
    return _needed(form, "client_id"), _needed(form, "client_secret")


def _client(request: Request, form: Mapping[str, str]) -> tuple[str, str] | None:
    """A client's id and secret, from the header or the form, not both (§2.3); None when it does not authenticate."""
    header = request.headers.get("authorization")
    if header is None:
        return _in_form(form) if "client_secret" in form else None
    if "client_secret" in form:
        raise OAuthError("invalid_request", "The client's secret is given twice, in header and form")
    scheme, _, encoded = header.partition(" ")
    try:
        client, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise _bad_client("Authorization must be Basic, with client id and secret")
    # Each is form-encoded before they are joined (§2.3.1): "+" is a space.
    client, secret = unquote_plus(client), unquote_plus(secret)
    if form.get("client_id", client) != client:
        raise OAuthError("invalid_request", "header and form name different clients")
    return client, secret


def _bad_client(description: str) -> OAuthError:
    challenge = {"WWW-Authenticate": 'Basic realm="headgate"'}
    return OAuthError("invalid_client", description, 401, challenge)


def _shown(tokens: Tokens) -> dict[str, object]:
    shown: dict[str, object] = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
    }
    if tokens.scope:  # a scope has at least one word (§3.3)
        shown["scope"] = tokens.scope
    if tokens.refresh_token is not None:
        shown["refresh_token"] = tokens.refresh_token
    return shown


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/token",
        handler=token,
        access="public",
        id="getToken",
        summary="Get tokens (OAuth 2.0); errors as in RFC 6749 §5.2",
        answers=(Answer(200, "Tokens", TokenShape),),
        tag="identity",
        body=Body(_TOKEN_FORM, (FORM,), example=_TOKEN_EXAMPLE),
        refusals=(401, 429, 503),
        refusal=TokenErrorShape,
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/revoke",
        handler=revoke,
        access="public",
        id="revokeToken",
        summary="End the login that a refresh token belongs to (RFC 7009)",
        answers=(Answer(200, "The token is not valid, or is not valid any more", _OBJECT),),
        tag="identity",
        body=Body(_REVOCATION_FORM, (FORM,), example=_REVOCATION_EXAMPLE),
        refusals=(401, 429, 503),
        refusal=TokenErrorShape,
    )
    for operation_id, prefix in (("getKeys", ""), ("getKeysUnderRoot", ROOT)):
        yield Operation(
            method="GET",
            path=f"{prefix}/.well-known/jwks.json",
            handler=jwks,
            access="public",
            id=operation_id,
            summary="The public keys that verify tokens (RFC 7517)",
            answers=(Answer(200, "JWK set", _JWKS),),
            tag="identity",
            refusals=(503,),
        )
