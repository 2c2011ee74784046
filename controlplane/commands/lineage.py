"""Giving a store its identity, and an operator's word that what it holds may replace what the fleet serves."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable

from controlplane.model.lineage import LINEAGE, Lineage, lineage_value, read_lineage
from controlplane.store import Conflict, Put, Store


async def ensure_lineage(store: Store, author: str) -> None:
    """Give the store an identity, unless it has one."""
    if await store.get(LINEAGE) is None:
        with contextlib.suppress(Conflict):  # another control plane was faster
            await store.commit({LINEAGE: 0}, [Put(LINEAGE, lineage_value(_new(), author))])


async def confirm_store(
    store: Store, author: str, *, above: int = 0, wall: Callable[[], float] = time.time
) -> tuple[int, Lineage]:
    """Raise the store's epoch, above `above` at least; return the revision and the lineage.

    Every control plane publishes what the store holds then, and every data plane takes it. Raises Conflict when
    somebody else confirmed at the same moment, and the store's errors.
    """
    entry = await store.get(LINEAGE)
    before = read_lineage(entry.value if entry else None)
    epoch = max(round(wall() * 1000), before.epoch + 1, above + 1)
    lineage = Lineage(before.id or _new().id, epoch)
    revision = entry.revision if entry else 0
    written = await store.commit({LINEAGE: revision}, [Put(LINEAGE, lineage_value(lineage, author))])
    return written, lineage


def _new() -> Lineage:
    return Lineage(secrets.token_hex(8))
