"""Identity: users, passwords, signing keys, tokens."""

from __future__ import annotations

from controlplane.identity.account_tokens import RefusedToken, is_account_token, issuer_of
from controlplane.identity.attempts import Attempts
from controlplane.identity.cluster_keys import ClusterKeys, KeysUnavailable
from controlplane.identity.errors import (
    BadCredentials,
    EndedToken,
    ExpiredToken,
    IdentityError,
    InvalidScope,
    InvalidToken,
    LacksScope,
    TooManyAttempts,
    WrongSecretKey,
)
from controlplane.identity.families import Rotation
from controlplane.identity.grants import Grants
from controlplane.identity.keys import KeyRing, SigningKey
from controlplane.identity.passwords import Hasher
from controlplane.identity.peer_secret import PeerSecret
from controlplane.identity.refused_calls import RefusedCalls
from controlplane.identity.revocations import Revocations
from controlplane.identity.sealing import Sealer
from controlplane.identity.service_accounts import ServiceAccounts
from controlplane.identity.shared import SharedTokens, UnusableFile, read_tokens
from controlplane.identity.tokens import Claims, DataplaneClaims, ServiceClaims, TokenIssuer, Tokens
from controlplane.identity.turns import Turns
from controlplane.identity.users import Users

__all__ = [
    "Attempts",
    "BadCredentials",
    "Claims",
    "ClusterKeys",
    "DataplaneClaims",
    "EndedToken",
    "ExpiredToken",
    "Grants",
    "Hasher",
    "IdentityError",
    "InvalidScope",
    "InvalidToken",
    "KeyRing",
    "KeysUnavailable",
    "LacksScope",
    "PeerSecret",
    "RefusedCalls",
    "RefusedToken",
    "Revocations",
    "Rotation",
    "Sealer",
    "ServiceAccounts",
    "ServiceClaims",
    "SharedTokens",
    "SigningKey",
    "TokenIssuer",
    "Tokens",
    "TooManyAttempts",
    "Turns",
    "UnusableFile",
    "Users",
    "WrongSecretKey",
    "is_account_token",
    "issuer_of",
    "read_tokens",
]
