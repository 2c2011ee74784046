"""The order in which a data plane tries the control planes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def preferred(addresses: Iterable[str], node: str) -> list[str]:
    """The addresses in this node's own order (rendezvous hashing: Thaler and Ravishankar, 1996).

    A fleet spreads evenly over its control planes. When one fails, its data planes spread over the others.
    """
    return sorted(addresses, key=lambda address: hashlib.sha256(f"{node} {address}".encode()).digest())


def after_loss(lost: str, addresses: Iterable[str], node: str) -> list[str]:
    """The order after the connection to `lost` ended: that address comes last."""
    return sorted(preferred(addresses, node), key=lambda address: address == lost)
