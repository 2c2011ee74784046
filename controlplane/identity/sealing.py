"""Encrypts the private keys of certificates for the store, as signing keys are: a JWE (RFC 7516: dir, A256GCM) under a
key derived from SECRET_KEY."""

from __future__ import annotations

import logging

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from controlplane.identity.errors import WrongSecretKey

_log = logging.getLogger(__name__)


class Sealer:
    """Encrypts and decrypts with one key."""

    def __init__(self, secret_key: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"headgate certificate key").derive(secret_key.encode())
        self._key = OctKey.import_key(derived)

    def __repr__(self) -> str:
        return "<Sealer>"

    def seal(self, plain: str) -> str:
        """The text, encrypted; different each time."""
        return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, plain, self._key)

    def opened(self, sealed: str) -> str:
        """The text; empty, and an error in the log, if it was encrypted with another key."""
        try:
            return self.open(sealed)
        except WrongSecretKey:
            _log.error("a private key in the store was encrypted with another SECRET_KEY: it is not sent")
            return ""

    def open(self, sealed: str) -> str:
        """The inverse. Raises WrongSecretKey."""
        try:
            opened = jwe.decrypt_compact(sealed, self._key, algorithms=["dir", "A256GCM"])
        except (JoseError, ValueError):
            raise WrongSecretKey from None
        return (opened.plaintext or b"").decode()
