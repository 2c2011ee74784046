"""Makes and reads tokens: JWTs (RFC 7519) in the profile of RFC 9068, signed with the newest key of the ring.

The guide has people run `echo -n $TOKEN | base64 -d | jq`. base64 stops at the first '.', so that prints the header,
if the header is a multiple of 3 bytes long (no padding is missing) and plain ASCII without '>', '?' and '~' (whose
encoding may hold the '-' and '_' of base64url). The length of the key's id sees to the first.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

from controlplane.identity.errors import EndedToken, ExpiredToken, InvalidScope, InvalidToken
from controlplane.identity.families import Member
from controlplane.identity.keys import ALGORITHM, KeyRing
from controlplane.model.resources import User

LONGEST = 8192
"""Bytes of a token; data planes refuse longer ones unread."""

_ACCESS, _REFRESH, _SERVICE, _DATAPLANE = "at+jwt", "rt+jwt", "st+jwt", "dt+jwt"
_TOO_LONG = "a token with all scopes would be too long; ask for fewer"
_SKEW = 60.0
"""Seconds that the clocks of two control planes may differ."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of a valid token."""

    subject: str
    scopes: frozenset[str]
    expires: float
    """Unix seconds."""
    credentials: str = ""
    """The credentials of the user that it was issued for (`User.credentials`); empty in tokens of versions before
    0.2."""
    session: str = ""
    """The login that the token belongs to: the family of its refresh token. Empty: to none."""
    started: float = 0.0
    """Unix seconds of that login."""
    id: str = ""
    """Of this token."""
    issued: float = 0.0
    """Unix seconds."""

    def of(self, user: User) -> bool:
        """Whether the user's credentials are still those that the token was made for."""
        return not self.credentials or self.credentials == user.credentials


@dataclass(frozen=True, slots=True)
class RefreshClaims(Claims):
    """Claims of a valid refresh token."""

    member: Member = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class ServiceClaims:
    """Claims of a valid service token."""

    service: str
    """Name of the one service whose registrations it is for."""
    expires: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class DataplaneClaims:
    """Claims of a valid data plane token."""

    pool: str
    """The pool that its holders belong to."""
    node: str | None
    """The one data plane that it is for; None: any of the pool."""
    expires: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A successful token response (RFC 6749, 5.1)."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    """Seconds until the access token expires."""
    scope: str
    """The granted scopes, separated by spaces."""


class TokenIssuer:
    """Issues tokens and reads them back. `clock` gives Unix seconds, the lifetimes are seconds."""

    def __init__(
        self,
        keys: KeyRing,
        clock: Callable[[], float],
        *,
        issuer: str = "headgate",
        audience: str = "headgate",
        access_ttl: int = 900,
        refresh_ttl: int = 86_400,
        refresh_lifetime: int = 2_592_000,
        ended: Callable[[Claims], bool] = lambda claims: False,
    ) -> None:
        """A refresh token is valid for `refresh_ttl`, and no token of its family beyond `refresh_lifetime`. `ended`:
        whether an access token has ended before it expires."""
        self._keys = keys
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        # Refresh tokens are for the token endpoint alone: the audience keeps data planes from taking them.
        self._own = f"{issuer}/auth/token"
        # And service tokens are for the registry alone.
        self._registry = f"{issuer}/registry"
        self._config = f"{issuer}/config"
        self._access_ttl = access_ttl
        self.ended = ended
        self._refresh_ttl = refresh_ttl
        self._refresh_lifetime = refresh_lifetime

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK set, for every party that verifies our tokens."""
        return self._keys.jwks()

    @property
    def last(self) -> float:
        """Unix seconds at which the last access token expires that any control plane may have issued by now."""
        return self._clock() + self._access_ttl + _SKEW

    def last_of(self, claims: Claims) -> float:
        """The same, and not before this token has expired: it may come from a time with a longer lifetime."""
        return max(self.last, claims.expires + _SKEW)

    def issue(self, user: User, scope: str | None = None, member: Member | None = None) -> Tokens:
        """An access token for the scopes asked for (separated by spaces), or for all that the user holds. `member`: of
        the family of the login that it belongs to.

        Raises InvalidScope when the user does not hold them all.
        """
        granted = _granted(user.scopes, scope)
        login = {"sid": member.family, "auth_time": member.started} if member else {}
        who = {"client_id": user.username, "cred": user.credentials, **login}
        access = self._sign(_ACCESS, self._audience, self._access_ttl, user.username, _scopes(granted) | who)
        if len(access) > LONGEST:
            raise InvalidScope(_TOO_LONG)
        return Tokens(access, None, self._access_ttl, " ".join(granted))

    def begin_family(self, user: User, scope: str | None = None) -> Tokens:
        """The tokens of a login, with the first refresh token of a new family. Raises as `issue` does."""
        member = Member(secrets.token_urlsafe(12), 0, self._clock())
        tokens = self.issue(user, scope, member)
        return self.continue_family(user, tokens, member, tokens.scope.split())

    def continue_family(self, user: User, tokens: Tokens, member: Member, scopes: Collection[str]) -> Tokens:
        """The same tokens with this refresh token of a family that was granted these scopes (RFC 6749, 6)."""
        now = int(self._clock())
        ttl = min(self._refresh_ttl, int(member.started + self._refresh_lifetime) - now)
        more = {
            "cred": user.credentials,
            "fam": member.family,
            "seq": member.sequence,
            "auth_time": member.started,
        }
        refresh = self._sign(_REFRESH, self._own, ttl, user.username, _scopes(scopes) | more)
        if len(refresh) > LONGEST:
            raise InvalidScope(_TOO_LONG)
        return replace(tokens, refresh_token=refresh)

    def issue_service(self, service: str, ttl: int) -> str:
        """A token for the registrations of this service, valid for `ttl` seconds."""
        return self._sign(_SERVICE, self._registry, ttl, service, {"service": service})

    def issue_dataplane(self, pool: str, node: str | None, ttl: int) -> str:
        """A token for the data planes of a pool, or for one of them, valid for `ttl` seconds."""
        claims: dict[str, object] = {"pool": pool, **({"node": node} if node is not None else {})}
        return self._sign(_DATAPLANE, self._config, ttl, pool, claims)

    def verify_any(self, token: str) -> Claims | ServiceClaims | DataplaneClaims:
        """The claims of an access, service or data plane token; InvalidToken unless it is one of ours and still
        valid."""
        match _kind_of(token):
            case "st+jwt":
                return self.verify_service(token)
            case "dt+jwt":
                return self.verify_dataplane(token)
        return self.verify(token)

    def verify(self, access_token: str) -> Claims:
        """The claims of an access token; InvalidToken unless it is one of ours and still valid."""
        claims = _claims(self._read(access_token, _ACCESS, self._audience))
        if self.ended(claims):
            raise EndedToken
        return claims

    def verify_refresh(self, refresh_token: str) -> RefreshClaims:
        """The claims of a refresh token; InvalidToken unless it is one of ours and still valid."""
        claims = self._read(refresh_token, _REFRESH, self._own)
        member = _member(claims)
        if member.started + self._refresh_lifetime <= self._clock():
            raise InvalidToken
        said = _claims(claims)
        return RefreshClaims(said.subject, said.scopes, said.expires, said.credentials, member=member)

    def verify_service(self, service_token: str) -> ServiceClaims:
        """The claims of a service token; InvalidToken unless it is one of ours and still valid."""
        claims = self._read(service_token, _SERVICE, self._registry)
        if not isinstance(claims.get("service"), str):
            raise InvalidToken
        return ServiceClaims(claims["service"], claims["exp"])

    def verify_dataplane(self, dataplane_token: str) -> DataplaneClaims:
        """The claims of a data plane token; InvalidToken unless it is one of ours and still valid."""
        claims = self._read(dataplane_token, _DATAPLANE, self._config)
        pool, node = claims.get("pool"), claims.get("node")
        if not isinstance(pool, str) or not isinstance(node, str | None):
            raise InvalidToken
        return DataplaneClaims(pool, node, claims["exp"])

    def _sign(self, kind: str, audience: str, ttl: int, subject: str, more: Mapping[str, object]) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": audience,
            "exp": now + ttl,
            "iat": now,
            "jti": secrets.token_urlsafe(12),
            **more,
        }
        key = self._keys.newest
        header = {"alg": ALGORITHM, "typ": kind, "kid": key.kid}
        return jwt.encode(header, claims, key.pair, algorithms=[ALGORITHM])

    def _read(self, token: str, kind: str, audience: str) -> dict[str, Any]:
        """The claims of a token that is one of ours, of this kind, and valid now."""
        if len(token) > LONGEST:
            raise InvalidToken
        try:
            found = jwt.decode(token, self._key_of, algorithms=[ALGORITHM])
        except (JoseError, ValueError, RecursionError):
            raise InvalidToken from None
        if found.header.get("typ") != kind:
            raise InvalidToken
        self._check(found.claims, audience)
        return found.claims

    def _key_of(self, token: GuestProtocol) -> RSAKey:
        key = self._keys.find(token.headers().get("kid"))
        if key is None:
            raise InvalidToken
        return key.pair

    def _check(self, claims: Mapping[str, Any], audience: str) -> None:
        now, expires, issued = self._clock(), claims.get("exp"), claims.get("iat")
        if (
            claims.get("iss") != self._issuer
            or claims.get("aud") != audience
            or not isinstance(expires, int | float)
            or not isinstance(issued, int | float)
            or issued > now + _SKEW
        ):
            raise InvalidToken
        if expires <= now:
            raise ExpiredToken


def _kind_of(token: str) -> object:
    """The kind that an unverified token claims to be."""
    head = token[:LONGEST].partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return None
    return header.get("typ") if isinstance(header, dict) else None


def _scopes(granted: Collection[str]) -> dict[str, object]:
    return {"scope": " ".join(granted), "scopes": list(granted)}


def _member(claims: Mapping[str, Any]) -> Member:
    family, sequence, started = claims.get("fam"), claims.get("seq"), claims.get("auth_time")
    if not isinstance(family, str) or not isinstance(sequence, int) or not isinstance(started, int | float):
        raise InvalidToken
    return Member(family, sequence, float(started))


def _claims(claims: Mapping[str, Any]) -> Claims:
    subject, scopes, credentials = claims.get("sub"), claims.get("scopes"), claims.get("cred", "")
    if not isinstance(subject, str) or not isinstance(scopes, list) or not isinstance(credentials, str):
        raise InvalidToken
    held = frozenset(scope for scope in scopes if isinstance(scope, str))
    login = _text(claims, "sid"), _number(claims, "auth_time")
    return Claims(
        subject, held, claims["exp"], credentials, *login, _text(claims, "jti"), float(claims["iat"])
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name, "")
    return found if isinstance(found, str) else ""


def _number(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name, 0.0)
    return float(found) if isinstance(found, int | float) else 0.0


def _granted(held: tuple[str, ...], scope: str | None) -> tuple[str, ...]:
    if scope is None or not scope.split():
        return held
    asked = tuple(dict.fromkeys(scope.split()))
    if missing := [name for name in asked if name not in held]:
        raise InvalidScope("scopes were asked for that the user does not hold", missing)
    return asked
