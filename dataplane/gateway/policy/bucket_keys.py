"""The keys of buckets: as they are kept, and as operators see them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from dataplane.gateway.policy.resources import Limit

_LONGEST_KEY: Final = 128
"""Characters. Longer keys are replaced by a digest, so that clients cannot fill the memory."""


def short(key: str) -> str:
    """The key itself, or a shorter substitute when it is too long to be kept."""
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:32]}…{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def label(limit: Limit, key: str) -> str:
    """A key as operators see it: the names of its parts and the value, for instance "subject:alice"."""
    return f"{','.join(limit.key)}:{key}"
