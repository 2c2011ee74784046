"""The keys that tokens are signed with: made once, kept in the store, the private part encrypted.

RS256 (RFC 7518, 3.3), because every request is verified and verifying RSA costs a third of verifying an elliptic
curve. The value in the store is {kid, public, private, created, issuer, audience}; `public` is a JWK (RFC 7517),
`private` a JWE (RFC 7516: dir, A256GCM) under a key derived from SECRET_KEY. Data planes get the public part.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey

from controlplane.identity.errors import WrongSecretKey
from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.stored import key_of
from controlplane.store import Entry

ALGORITHM = "RS256"
_BITS = 2048
_KID_BYTES = 9
"""As 18 hexadecimal digits: with these the header of a token is a multiple of 3 bytes long (see `tokens`)."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair."""

    kid: str
    created: float
    """Unix seconds."""
    public: Mapping[str, str]
    """JWK."""
    pair: RSAKey = field(repr=False)


class KeyRing:
    """All known keys; tokens are signed with the newest."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = {key.kid: key for key in sorted(keys, key=lambda key: (key.created, key.kid))}
        self.newest = self._keys[next(reversed(self._keys))]

    def find(self, kid: object) -> SigningKey | None:
        """The key with this id."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK set (RFC 7517, 5)."""
        return {"keys": [dict(key.public) for key in self._keys.values()]}


def generate(now: float) -> SigningKey:
    """A new key; a tenth of a second of computing."""
    kid = secrets.token_hex(_KID_BYTES)
    pair = RSAKey.generate_key(_BITS, {"kid": kid, "alg": ALGORITHM, "use": "sig"}, private=True)
    return SigningKey(kid, now, _public(pair), pair)


def _public(pair: RSAKey) -> dict[str, str]:
    return {name: str(value) for name, value in pair.as_dict(private=False).items()}


def wrapping_key(secret_key: str) -> OctKey:
    """The key that private keys are encrypted with."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"headgate signing key").derive(secret_key.encode())
    return OctKey.import_key(derived)


def wrap(key: SigningKey, wrapping: OctKey) -> str:
    """The private key, encrypted."""
    header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid}
    return jwe.encrypt_compact(header, json.dumps(key.pair.as_dict(private=True)), wrapping)


def unwrap(entry: Entry, wrapping: OctKey) -> SigningKey:
    """The key in an entry. Raises WrongSecretKey, and InconsistentConfig for an entry that is damaged."""
    try:
        value = json.loads(entry.value)
        kid, created, private = str(value["kid"]), float(value["created"]), str(value["private"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InconsistentConfig([Problem(entry.key, "is not a signing key")]) from None
    try:
        opened = jwe.decrypt_compact(private, wrapping, algorithms=["dir", "A256GCM"])
        pair = RSAKey.import_key(json.loads(opened.plaintext or b""))
    except (JoseError, ValueError):
        raise WrongSecretKey from None
    if opened.headers().get("kid") != kid or key_of("signing_key", kid) != entry.key:
        raise InconsistentConfig([Problem(entry.key, "holds a different key than its name says")])
    return SigningKey(kid, created, _public(pair), pair)
