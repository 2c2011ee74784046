"""The token endpoint (RFC 6749) and the public keys (RFC 7517).

The guide's curl sends a username and a password and nothing else, so `grant_type` may be left out, and no client
has to name itself. Errors have the form of RFC 6749 §5.2, which OAuth clients know, not that of a problem.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response

from controlplane.api import body
from controlplane.api.answers import json_answer
from controlplane.api.explain import explain
from controlplane.api.operation import Call
from controlplane.api.problems import Refused
from controlplane.identity import BadCredentials, InvalidScope, Tokens

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
    try:
        tokens = await _grant(call, await body.form(call.request))
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        document = {"error": told.code, "error_description": str(told)}
        return json_answer(document, told.status, headers={**told.headers, **_NO_STORE})
    return json_answer(_shown(tokens), headers=_NO_STORE)


async def jwks(call: Call) -> Response:
    """The keys that verify our tokens."""
    # Public by nature: whoever verifies tokens has none. Kept for a short time, so that a new key is soon known.
    return json_answer(call.parts.issuer().jwks(), headers={"Cache-Control": "public, max-age=60"})


async def _grant(call: Call, form: Mapping[str, str]) -> Tokens:
    call.parts.issuer()  # or 503: still starting
    grants, scope = call.parts.grants, form.get("scope")
    assert grants is not None
    match form.get("grant_type", "password"):
        case "password":
            username, password = _needed(form, "username"), _needed(form, "password")
            tokens = await grants.password(username, password, scope)
            # Logged only now: people type passwords into the wrong field.
            call.record.author = username
            return tokens
        case "client_credentials":
            client, secret = _client(call.request, form)
            try:
                tokens = await grants.client_credentials(client, secret, scope)
            except BadCredentials:
                raise _bad_client("wrong client id or secret") from None
            call.record.author = client
            return tokens
        case "refresh_token":
            return await grants.refresh(_needed(form, "refresh_token"), scope)
    raise OAuthError(
        "unsupported_grant_type", "grant_type must be password, client_credentials or refresh_token"
    )


def _told(error: Exception) -> OAuthError | None:
    match error:
        case OAuthError():
            return error
        case BadCredentials():
            return OAuthError("invalid_grant", str(error))
        case InvalidScope():
            return OAuthError("invalid_scope", str(error))
    refused = explain(error, writing=False)
    return _translated(refused) if refused else None


def _translated(refused: Refused) -> OAuthError:
    later = refused.status == 429 or refused.status >= 500
    code = "temporarily_unavailable" if later else "invalid_request"
    return OAuthError(code, refused.detail, refused.status, refused.headers)


def _needed(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthError("invalid_request", f"{name} is missing")
    return form[name]


def _client(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """A client's id and secret, from the header or the form, not both (RFC 6749 §2.3)."""
    header = request.headers.get("authorization")
    if header is None:
        return _needed(form, "client_id"), _needed(form, "client_secret")
    if "client_secret" in form:
        raise OAuthError("invalid_request", "The client's secret is given twice, in header and form")
    scheme, _, encoded = header.partition(" ")
    try:
        client, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise _bad_client("Authorization must be Basic, with client id and secret")
    return _unescaped(client), _unescaped(secret)


def _unescaped(text: str) -> str:
    """RFC 6749 has id and secret form-encoded before Basic. curl does not: what holds no escape is taken as it is."""
    return unquote_plus(text) if "%" in text else text


def _bad_client(description: str) -> OAuthError:
    challenge = {"WWW-Authenticate": 'Basic realm="headgate"'}
    return OAuthError("invalid_client", description, 401, challenge)


def _shown(tokens: Tokens) -> dict[str, object]:
    shown: dict[str, object] = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "scope": tokens.scope,
    }
    if tokens.refresh_token is not None:
        shown["refresh_token"] = tokens.refresh_token
    return shown
