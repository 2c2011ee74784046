"""The digest of a configuration, as config.proto defines it: a sum, so that a change costs what it changes.

Each resource has a share, the SHA-256 of "<kind> <name> <revision>\\n" as a number; the digest is the sum of all shares
modulo 2**256. To replace one resource of ten thousand, subtract one share and add another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from controlplane.model.resources import ResourceId
from controlplane.model.stored import Stamped

_MODULUS = 1 << 256


def share(identity: ResourceId, revision: int) -> int:
    """The contribution of one resource to the sum."""
    kind, name = identity
    return int.from_bytes(hashlib.sha256(f"{kind} {name} {revision}\n".encode()).digest())


def total_of(resources: Mapping[ResourceId, Stamped]) -> int:
    """The sum over all resources, not reduced yet."""
    return sum(share(identity, stamped.revision) for identity, stamped in resources.items())


def text(total: int) -> str:
    """A sum as it is sent: 64 hexadecimal digits."""
    return f"{total % _MODULUS:064x}"
