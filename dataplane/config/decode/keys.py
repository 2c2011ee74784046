"""Private keys of certificates in the cache on disk: encrypted with a key that is derived from the credential of the
data plane, and thus not on the same disk if the credential is not."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dataplane.config.decode.bundle import Bundle
from dataplane.config.table import Problem, ResourceKey, TableError
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1.resources_pb2 import Certificate, Resource

_NONCE: Final = 12
_MARK: Final = b"PRIVATE KEY"
"""In every key in PEM (RFC 7468, section 10 and 13)."""


def cache_key(credential: str) -> bytes:
    """The key for this credential."""
    return HKDF(SHA256(), 32, salt=None, info=b"headgate cache of a data plane").derive(credential.encode())


def sealed(record: bytes, key: bytes) -> bytes:
    """A serialized change with its private keys encrypted. A change without any costs a search."""
    if _MARK not in record:
        return record
    delta = pb.Delta.FromString(record)
    for resource in delta.changed:
        if resource.HasField("certificate"):
            resource.certificate.private_key = _encrypted(resource, key)
    return delta.SerializeToString()


def unsealed(bundle: Bundle, key: bytes) -> Bundle:
    """The configuration with its private keys decrypted. Raises TableError."""
    changed: dict[ResourceKey, Resource] = {}
    for identity, resource in bundle.resources.items():
        if identity[0] == "certificate":
            body = Certificate()
            body.CopyFrom(resource.certificate)
            body.private_key = _plain(resource, key)
            changed[identity] = Resource(name=resource.name, revision=resource.revision, certificate=body)
    return replace(bundle, resources={**bundle.resources, **changed}) if changed else bundle


def _encrypted(resource: Resource, key: bytes) -> str:
    nonce = os.urandom(_NONCE)
    plain = resource.certificate.private_key.encode()
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, plain, resource.name.encode())).decode()


def _plain(resource: Resource, key: bytes) -> str:
    try:
        raw = base64.b64decode(resource.certificate.private_key, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], resource.name.encode()).decode()
    except (InvalidTag, ValueError):
        detail = "was encrypted with another credential of this data plane"
        raise TableError([Problem(f"certificate/{resource.name}", "private_key", detail)]) from None
