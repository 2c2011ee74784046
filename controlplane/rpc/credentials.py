"""Who calls, and what they may do: bearer credentials in the call's metadata (RFC 6750 in spirit).

Data planes and services have a shared token each. People have access tokens, and the rights of the moment: a user that
is gone or disabled is nobody, and a scope that was taken away is gone at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from controlplane.commands import Commands
from controlplane.identity import Claims, InvalidToken, TokenIssuer
from controlplane.model.resources import User
from controlplane.publish import Watcher
from controlplane.rpc.errors import Context, forbidden, not_ready, unauthenticated


class Right(Enum):
    """What a call of the registry needs."""

    LOOK = "look"
    REGISTER = "register"
    CHANGE = "change"
    """What reaches beyond one's own registration."""


_SERVICES = frozenset({Right.LOOK, Right.REGISTER})
_SCOPES = {
    "gateway:read": frozenset({Right.LOOK}),
    "gateway:admin": frozenset({Right.LOOK, Right.REGISTER, Right.CHANGE}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may make the call. `expires` (Unix seconds) is None for a credential that does not."""

    name: str
    expires: float | None = None


class Credentials:
    """Checks what callers present. `tokens` gives None until the signing keys have been read."""

    def __init__(
        self,
        dataplane_token: str,
        service_token: str,
        tokens: Callable[[], TokenIssuer | None],
        watcher: Watcher,
        commands: Commands,
    ) -> None:
        self._dataplane_token = dataplane_token.encode()
        self._service_token = service_token.encode()
        self._tokens = tokens
        self._watcher = watcher
        self._commands = commands

    def __repr__(self) -> str:
        return "<Credentials>"

    def require_dataplane(self, context: Context) -> None:
        """Raises Refused unless the caller is a data plane."""
        if not hmac.compare_digest(_bearer(context), self._dataplane_token):
            raise unauthenticated()

    async def require(self, right: Right, context: Context) -> Caller:
        """The caller, who has this right. Raises Refused, StoreUnavailable."""
        sent = _bearer(context)
        if hmac.compare_digest(sent, self._service_token):
            if right not in _SERVICES:
                raise forbidden()
            return Caller("service")
        claims = self._verify(sent)
        await self._check(claims, right)
        return Caller(claims.subject, claims.expires)

    def _verify(self, sent: bytes) -> Claims:
        # A shared token has no dots: whoever has the wrong one is told so while the keys are still being read.
        if sent.count(b".") != 2:
            raise unauthenticated()
        if (tokens := self._tokens()) is None:
            raise not_ready()
        try:
            return tokens.verify(sent.decode())
        except (InvalidToken, UnicodeDecodeError):
            raise unauthenticated() from None

    async def _check(self, claims: Claims, right: Right) -> None:
        if _may(claims, self._watched(claims.subject), right):
            return
        # The watcher may be a moment behind: before a refusal the store itself is asked.
        user = await self._commands.find_user(claims.subject)
        if user is None or user.disabled:
            raise unauthenticated()
        if not _may(claims, user, right):
            raise forbidden()

    def _watched(self, username: str) -> User | None:
        if self._watcher.current is None:
            return None
        stamped = self._watcher.current.resources.get(("user", username))
        return stamped.resource if stamped and isinstance(stamped.resource, User) else None


def _may(claims: Claims, user: User | None, right: Right) -> bool:
    if user is None or user.disabled:
        return False
    held = claims.scopes & frozenset(user.scopes)
    return any(right in _SCOPES.get(scope, ()) for scope in held)


def _bearer(context: Context) -> bytes:
    """The credential that was sent; empty when there is none, or more than one."""
    sent = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    scheme, _, credential = str(sent[0]).partition(" ") if len(sent) == 1 else ("", "", "")
    return credential.strip().encode() if scheme.lower() == "bearer" else b""
