"""Service-account tokens of Kubernetes: JWTs that the cluster signs and that kubelet puts into pods. Pure.

`read` takes a token apart, `Unproven.check` compares its claims with what is expected, and only `Unproven.prove`, which
needs the cluster's key, gives an account. Claims are checked before the signature: a token with a wrong one costs no
cryptography and no request to the API server.

Refusals name what is wrong, since people who deploy a service see nothing but them. They repeat claims that the caller
has sent, shortened and escaped, and the expected issuer and audience, which are no secrets.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from controlplane.identity.errors import InvalidToken
from controlplane.model.base import parse_as
from controlplane.model.problems import InvalidConfig
from controlplane.model.registration import ServiceAccount

LONGEST = 8192
"""Bytes of a token."""
MOST_KEYS = 64
"""Keys of a cluster; further ones are ignored."""
WEAKEST_RSA = 2048
"""Bits of a modulus."""
EARLY = 60.0
"""Seconds that the API server's clock may be ahead of ours."""
LONGEST_CLAIM = 120
"""Characters of a claim that a refusal repeats."""

SUBJECT = "system:serviceaccount:"
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}


class RefusedToken(InvalidToken):
    """A service-account token that is not accepted; the message is for the caller and has no token in it."""


class UnusableKeys(Exception):
    """A body that is not a JWK set, or has no key that can be used."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the one algorithm that it is used with."""

    algorithm: str
    public: RSAKey | ECKey = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ClusterKeySet:
    """The keys of a cluster by their id, and the issuer of its tokens, empty if that is not known."""

    keys: Mapping[str, Key]
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """The claims of accepted tokens."""

    issuers: tuple[str, ...]
    audience: str


@dataclass(frozen=True, slots=True)
class AccountClaims:
    """Claims of a valid token."""

    account: ServiceAccount
    expires: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Unproven:
    """A token whose signature has not been verified."""

    token: bytes = field(repr=False)
    kid: str
    algorithm: str
    issuer: str
    audiences: tuple[str, ...]
    account: ServiceAccount
    not_before: float
    expires: float

    def check(self, expected: Expected, now: float) -> None:
        """Raises RefusedToken for a claim that is not as expected. `now` is in Unix seconds."""
        if self.issuer not in expected.issuers:
            raise RefusedToken(
                f"the token's issuer is {shown(self.issuer)}, expected {_listed(expected.issuers)}"
            )
        if expected.audience not in self.audiences:
            raise RefusedToken(
                f"the token's audience is {_listed(self.audiences)}, expected {shown(expected.audience)}"
            )
        if self.not_before > now + EARLY:
            early = self.not_before - now
            raise RefusedToken(f"the token is not valid for another {early:.0f} s: the clocks differ")
        check_expiry(self.expires, now)

    def prove(self, keys: ClusterKeySet) -> AccountClaims:
        """The account, if the cluster has signed the token. Raises RefusedToken."""
        if (key := keys.keys.get(self.kid)) is None:
            raise RefusedToken(
                f"the token is signed with the key {shown(self.kid)}, which the cluster does not have"
            )
        if key.algorithm != self.algorithm:
            raise RefusedToken(
                f"the token's algorithm is {shown(self.algorithm)}, but that of its key is {key.algorithm}"
            )
        try:
            jws.deserialize_compact(self.token, key.public, algorithms=[key.algorithm])
        except (JoseError, ValueError):
            raise RefusedToken("the token's signature is not that of the cluster's key") from None
        return AccountClaims(self.account, self.expires)


def check_expiry(expires: float, now: float) -> None:
    """Raises RefusedToken for a token that has expired."""
    if expires <= now:
        raise RefusedToken(
            f"the token expired {now - expires:.0f} s ago: kubelet renews its file, read it again"
        )


def is_account_token(token: bytes) -> bool:
    """Whether it is or pretends to be one: a JWT about a service account."""
    if len(token) > LONGEST or token.count(b".") != 2:
        return False
    try:
        return str(_part(token, 1).get("sub")).startswith(SUBJECT)
    except RefusedToken:
        return False


def read(token: bytes) -> Unproven:
    """The parts of a token, of which nothing is verified. Raises RefusedToken."""
    if len(token) > LONGEST:
        raise RefusedToken(f"the token has {len(token)} bytes; at most {LONGEST} are allowed")
    if token.count(b".") != 2:
        raise RefusedToken("the token is not a signed JWT")
    header, claims = _part(token, 0), _part(token, 1)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS.values():
        raise RefusedToken(f"the token's algorithm is {shown(algorithm)}, expected RS256 or ES256")
    if "crit" in header:
        raise RefusedToken("the token needs extensions of JWS (crit), which are not supported")
    return Unproven(
        token,
        kid=_text(header, "kid", "key id"),
        algorithm=algorithm,
        issuer=_text(claims, "iss", "issuer"),
        audiences=_audiences(claims.get("aud")),
        account=_account(_text(claims, "sub", "subject")),
        # Absent in no token of a cluster, but optional in RFC 7519.
        not_before=_time(claims, "nbf") if "nbf" in claims else 0.0,
        expires=_time(claims, "exp"),
    )


def read_keys(body: bytes, issuer: str = "") -> ClusterKeySet:
    """The keys of a JWK set (RFC 7517) that can verify tokens. Raises UnusableKeys if there are none."""
    try:
        listed = json.loads(body)["keys"]
        keys = dict(_keys(listed[:MOST_KEYS]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnusableKeys("the API server sends no JWK set") from None
    if not keys:
        raise UnusableKeys("the API server publishes no key for RS256 or ES256")
    return ClusterKeySet(keys, issuer)


def issuer_of(token: bytes) -> str:
    """The issuer that a token names; empty if it names none."""
    try:
        found = _part(token, 1).get("iss")
    except RefusedToken:
        return ""
    return found if isinstance(found, str) else ""


def shown(value: object) -> str:
    """A claim in a refusal: one line of bounded length."""
    if not isinstance(value, str):
        return "missing" if value is None else f"not a string but {type(value).__name__}"
    return ascii(value if len(value) <= LONGEST_CLAIM else f"{value[:LONGEST_CLAIM]}...")


def _listed(values: tuple[str, ...]) -> str:
    few = ", ".join(map(shown, values[:3]))
    return f"{few} and {len(values) - 3} more" if len(values) > 3 else few or "missing"


def _keys(listed: list[Any]) -> list[tuple[str, Key]]:
    found = []
    for one in listed:
        if not isinstance(one, dict) or not isinstance(kid := one.get("kid"), str):
            continue
        if (key := _key(one)) is not None:
            found.append((kid, key))
    return found


def _key(jwk: dict[str, Any]) -> Key | None:
    """None for a key of another kind or use."""
    kty = str(jwk.get("kty"))
    if kty not in _PUBLIC or jwk.get("use", "sig") != "sig":
        return None
    kind: type[RSAKey | ECKey] = RSAKey if kty == "RSA" else ECKey
    algorithm = _ALGORITHMS[kty]
    if jwk.get("alg", algorithm) != algorithm or jwk.get("crv", "P-256") != "P-256":
        return None
    try:
        public = {name: jwk[name] for name in _PUBLIC[kty]}
        if kind is RSAKey and len(_bytes(public["n"]).lstrip(b"\0")) * 8 < WEAKEST_RSA:
            return None
        key = kind.import_key(public)
        # Reads the numbers, which importing does not.
        assert key.public_key is not None
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Key(algorithm, key)


def _part(token: bytes, number: int) -> dict[str, Any]:
    """The header (0) or the claims (1)."""
    try:
        found = json.loads(_bytes(token.split(b".")[number]))
    except (IndexError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedToken("the token is not a signed JWT")
    return found


def _bytes(encoded: str | bytes) -> bytes:
    """Of base64url without padding. Raises ValueError."""
    text = encoded.encode() if isinstance(encoded, str) else encoded
    return base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)


def _text(values: Mapping[str, Any], name: str, what: str) -> str:
    if not isinstance(found := values.get(name), str) or not found:
        raise RefusedToken(f"the token has no {what} ({name})")
    return found


def _audiences(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(one for one in listed if isinstance(one, str))


def _account(subject: str) -> ServiceAccount:
    namespace, _, name = subject.removeprefix(SUBJECT).partition(":")
    try:
        if not subject.startswith(SUBJECT):
            raise InvalidConfig(())
        return parse_as(ServiceAccount, {"namespace": namespace, "service_account": name})
    except InvalidConfig:
        raise RefusedToken(
            f"the token's subject is {shown(subject)}, which is not a service account"
        ) from None


def _time(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    try:
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            return float(found)
    except OverflowError:
        pass
    raise RefusedToken(f"the token has no time in {name}")
