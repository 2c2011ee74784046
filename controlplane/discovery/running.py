"""Runs discovery in the control plane that is elected for it."""

from __future__ import annotations

import asyncio
import time

from controlplane.commands.executor import Executor
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.discovery.discoverer import Discoverer, Sources
from controlplane.discovery.resignation import Resignation
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.store import Election, Store
from controlplane.store.election import FencedStore


async def run(
    store: Store, watcher: Watcher, hasher: Hasher, candidate: str, sources: Sources, counts: DiscoveryCounts
) -> None:
    """Wait for the first service with discovery, then take part in the election until cancelled."""
    await _needed(watcher)
    resignation = Resignation()

    async def discover(fenced: FencedStore) -> None:
        await Discoverer(watcher, Executor(fenced, hasher, time.time), sources, counts, resignation).run()

    await Election(store, "discovery", candidate).run(discover)


async def _needed(watcher: Watcher) -> None:
    wake = asyncio.Event()
    with watcher.changed.wakes(wake):
        while not (watcher.discoveries or watcher.remembered):
            await wake.wait()
            wake.clear()
