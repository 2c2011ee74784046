"""Authentication between control planes: message authentication codes under a key derived from SECRET_KEY.

A follower presents a credential that names both control planes and is valid for some minutes. If an attacker makes it
connect to another process, that process cannot use the credential elsewhere. The control plane that answers proves that
it has the key, too. Tokens of data planes, services and people are not accepted here, and these credentials are not
accepted elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controlplane.identity.errors import InvalidToken

SKEW = 300.0
"""Seconds by which the clocks of two control planes may differ."""
LONGEST_NAME = 128


class PeerSecret:
    """The key that all control planes of a fleet share."""

    def __init__(self, secret_key: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"headgate control planes")
        self._key = derived.derive(secret_key.encode())

    def __repr__(self) -> str:
        return "<PeerSecret>"

    def credential(self, caller: str, callee: str, now: float) -> str:
        """The credential that `caller` presents to `callee`; `now` in Unix seconds."""
        at = str(int(now))
        return f"{at}.{self._mac('follow', at, caller, callee)}.{caller}"

    def check(self, sent: str, callee: str, now: float) -> str:
        """The name of the control plane that shows this credential to `callee`. Raises InvalidToken."""
        at, mac, caller = (*sent.split(".", 2), "", "")[:3]
        if not (at.isascii() and at.isdigit() and len(at) < 16 and 0 < len(caller) <= LONGEST_NAME):
            raise InvalidToken
        expected = self._mac("follow", at, caller, callee)
        if not hmac.compare_digest(mac.encode(), expected.encode()) or abs(now - int(at)) > SKEW:
            raise InvalidToken
        return caller

    def proof(self, callee: str, nonce: bytes) -> bytes:
        """The answer of `callee` to the sender of the nonce."""
        return bytes.fromhex(self._mac("answer", nonce.hex(), callee))

    def _mac(self, *parts: str) -> str:
        # Lengths keep one list of parts from looking like another one.
        message = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()
