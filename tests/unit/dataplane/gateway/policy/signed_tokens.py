"""Keys and signed tokens, good and bad: what the tests of authentication share."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from dataplane.gateway.policy.authenticate import Authenticator, Unauthenticated
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.resources import VerificationKey

NOW = 1_800_000_000.0


@cache
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


@cache
def other_rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


@cache
def ec() -> ECKey:
    return ECKey.generate_key("P-256")


@cache
def ed() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


def public(key: Key, **more: str) -> str:
    return json.dumps({**key.as_dict(private=False), **more})


def trusted(
    key: Key, kid: str = "k1", issuer: str = "headgate", audience: str = "headgate"
) -> VerificationKey:
    return VerificationKey(kid, public(key, kid=kid), issuer, audience)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "k1"}
CLAIMS: dict[str, Any] = {
    "iss": "headgate",
    "sub": "testuser",
    "aud": "headgate",
    "exp": NOW + 900,
    "iat": NOW,
    "jti": "1",
    "scope": "orders:read orders:write",
}
ABSENT = object()


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **changes}.items() if value is not ABSENT}


def signed(header: dict[str, Any], payload: bytes, key: Key) -> str:
    """A token with this very header and payload, whatever the library thinks of them."""
    head = b64(json.dumps(header).encode())
    body = b64(payload)
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{head}.{body}.{b64(algorithm.sign(f'{head}.{body}'.encode(), key))}"


def token(header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any) -> str:
    payload = json.dumps(changed(CLAIMS, claims)).encode()
    return signed(changed(HEADER, header or {}), payload, key or rsa())


def outcome(gate: Authenticator, text: str, now: float = NOW) -> Caller | Unauthenticated:
    return gate.authenticate(f"Bearer {text}", now)


def unsignable(header: dict[str, Any]) -> str:
    """A good token whose header says something else than how it was signed."""
    head = b64(json.dumps(changed(HEADER, header)).encode())
    body = b64(json.dumps(CLAIMS).encode())
    model = jws.JWSRegistry.algorithms["RS256"]
    return f"{head}.{body}.{b64(model.sign(f'{head}.{body}'.encode(), rsa()))}"
