"""Verifies one signed token: RFC 7515 (JWS), RFC 7519 (JWT), with the hardening of RFC 8725.

A token is accepted only if all of this holds:

- header and claims are JSON objects in UTF-8, without byte order mark (RFC 7515, 2; RFC 7519, 7.2), and no member
  occurs twice, since parsers differ in which one counts (RFC 7515, 4; RFC 8725, 2.4);
- it is a compact JWS of at most 8 KiB whose `kid` and `iss` name a key we hold (RFC 8725, 3.8);
- its `alg` is the one of that key's type, so never "none" or an HMAC (RFC 8725, 3.1 and 3.2);
- its header has no `crit`, since we understand no extension (RFC 7515, 4.1.11);
- it is an access token, so its `typ` is "at+jwt" (RFC 9068, 4): refresh tokens are signed by the same key;
- `aud` contains the key's audience, `exp` is in the future, and `nbf` and `iat` are not, apart from `LEEWAY`;
- its signature is valid. This comes last: a flood of stale or foreign tokens then costs no public-key operation.
"""

from __future__ import annotations

import json
import re
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.util import urlsafe_b64decode

from dataplane.gateway.policy.resources import VerificationKey

MAX_TOKEN = 8 * 1024
"""Longest token, in characters."""
LEEWAY = 5.0
"""Seconds that `nbf` and `iat` may lie ahead, for clocks that differ. `exp` has no leeway."""

_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_SCOPE = re.compile(r"[!#-\[\]-~]+")
"""A scope-token (RFC 6749, section 3.3)."""
_SUBJECT = re.compile(r"[ -~]{1,255}")
"""The subject goes into a header field and the log."""
_LATEST = 2.0**53
_MALFORMED = (JoseError, ValueError, TypeError, LookupError, RecursionError)


class BadToken(Exception):
    """The token is not accepted. The message is for the access log, not for the caller; it quotes nothing of the
    token."""


class _Pinned(jws.JWSRegistry):
    """Accepts the algorithms of one key, by any of their names, and no other."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(algorithms=names, strict_check_header=False)
        self._models = dict.fromkeys(names, jws.JWSRegistry.algorithms[names[0]])

    def get_alg(self, name: str) -> Any:
        if name not in self._models:
            raise BadToken("alg does not match the key")
        return self._models[name]


class Verifier:
    """One key, ready for use."""

    __slots__ = ("_audience", "_jwk", "_registry", "issuer", "kid")

    def __init__(self, key: VerificationKey) -> None:
        """Raises ValueError, naming the key, when it cannot verify tokens."""
        try:
            jwk = json.loads(key.jwk)
            if not isinstance(jwk, dict):
                raise ValueError("it is not a JSON object")
            self._jwk = import_key(jwk)
            names = _algorithms(self._jwk)
            if self._jwk.alg not in (None, *names) or self._jwk.get("use") not in (None, "sig"):
                raise ValueError("its alg or use does not allow signatures of this kind")
            self._registry = _Pinned(names)
        except _MALFORMED as error:
            raise ValueError(f"verification key {key.id!r} cannot be used: {error}") from error
        self.kid = self._jwk.kid or key.id
        self.issuer = key.issuer
        self._audience = key.audience

    def verify(self, token: jws.CompactSignature, claims: dict[str, Any], now: float) -> None:
        """Check everything but `kid` and `iss`, by which this verifier was found. Raises BadToken."""
        _check_times(claims, now)
        audience = claims.get("aud")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise BadToken("aud does not match")
        try:
            valid = jws.validate_compact(token, self._jwk, registry=self._registry)
        except _MALFORMED as error:
            raise BadToken("header is malformed") from error
        if not valid:
            raise BadToken("signature does not match")


def parse(text: str) -> tuple[jws.CompactSignature, dict[str, Any]]:
    """Split a token into header and claims, which are not verified yet. Raises BadToken."""
    if len(text) > MAX_TOKEN:
        raise BadToken("token is too long")
    try:
        token = jws.extract_compact(text.encode("ascii"))
        header = _object(urlsafe_b64decode(text.partition(".")[0].encode("ascii")))
        claims = _object(token.payload)
    except _MALFORMED as error:
        raise BadToken("token is malformed") from error
    if header != token.protected:
        raise BadToken("header is ambiguous")
    _check_header(header)
    return token, claims


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, without constructs that parsers read differently. Raises ValueError."""
    found = json.loads(data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_json)
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def subject(claims: dict[str, Any]) -> str:
    """The token's subject. Raises BadToken."""
    sub = claims.get("sub")
    if not isinstance(sub, str) or not _SUBJECT.fullmatch(sub):
        raise BadToken("sub is absent or unusable")
    return sub


def scopes(claims: dict[str, Any]) -> frozenset[str]:
    """The scopes that the token grants: `scope`, a string (RFC 9068, 2.2.3), or else `scopes`, a list. Raises
    BadToken."""
    granted = claims.get("scope")
    if granted is None:
        granted = claims.get("scopes", [])
    if isinstance(granted, str):
        granted = granted.split()
    if not isinstance(granted, list) or not all(
        isinstance(one, str) and _SCOPE.fullmatch(one) for one in granted
    ):
        raise BadToken("scopes are malformed")
    return frozenset(granted)


def credentials(claims: dict[str, Any]) -> str:
    """The `cred` claim: the credentials of the subject that the token was issued for; empty when absent. Raises
    BadToken."""
    cred = claims.get("cred", "")
    if not isinstance(cred, str):
        raise BadToken("cred is malformed")
    return cred


def value(claims: dict[str, Any], claim: str) -> str:
    """A claim that is a string, a number or a boolean, as JSON text; empty when it is absent or anything else."""
    found = claims.get(claim)
    return json.dumps(found) if isinstance(found, str | int | float) else ""


def shown(claims: dict[str, Any], claim: str) -> str:
    """The value of a claim as text: a string as it is, numbers and booleans as JSON, "" for all others."""
    found = claims.get(claim)
    return found if isinstance(found, str) else value(claims, claim)


def expiry(claims: dict[str, Any]) -> float:
    """The Unix time at which the token expires. Raises BadToken without one."""
    exp = _time(claims, "exp")
    if exp is None:
        raise BadToken("exp is absent")
    return exp


def _check_header(header: dict[str, Any]) -> None:
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise BadToken("typ is not that of an access token")
    if "crit" in header or "b64" in header:
        raise BadToken("critical header parameters are not supported")


def _check_times(claims: dict[str, Any], now: float) -> None:
    if not now < expiry(claims):
        raise BadToken("token has expired")
    for claim in ("nbf", "iat"):
        begin = _time(claims, claim)
        if begin is not None and begin > now + LEEWAY:
            raise BadToken(f"{claim} is in the future")


def _time(claims: dict[str, Any], claim: str) -> float | None:
    """A NumericDate (RFC 7519, section 2). JSON has no NaN and no infinity, but the parser accepts both."""
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LATEST:
        raise BadToken(f"{claim} is not a time")
    return float(value)


def _algorithms(key: Key) -> tuple[str, ...]:
    """The single algorithm of a key, with its names. Raises ValueError for unsupported keys."""
    if isinstance(key, RSAKey) and key.public_key.key_size >= 2048:
        return ("RS256",)
    if isinstance(key, ECKey) and key.curve_name == "P-256":
        return ("ES256",)
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return "Ed25519", "EdDSA"  # RFC 9864 renamed it
    raise ValueError("it must be RSA of at least 2048 bits, EC P-256 or Ed25519")
