"""A cluster loses its leader: writes go on, and what was confirmed is in the watch, once and in order."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controlplane.store import EtcdStore, Put, Store, StoreUnavailable
from tests.support.etcd import cluster
from tests.support.waiting import eventually
from tests.support.watching import Watching


async def write_until(done: asyncio.Event, store: Store, confirmed: list[str], open_: list[str]) -> None:
    """Write numbers; note which were confirmed, and of which the outcome is unknown."""
    number = 0
    while not done.is_set():
        number += 1
        try:
            await store.commit({}, [Put("/k/n", str(number).encode())])
            confirmed.append(str(number))
        except StoreUnavailable as error:
            if error.unknown_outcome:
                open_.append(str(number))
        await asyncio.sleep(0.002)


async def test_the_leader_is_killed_under_writes_and_a_watch(tmp_path: Path) -> None:
    with cluster(tmp_path, 3) as members:
        # The leader first, so that both the writes and the watch begin there.
        members.sort(key=lambda member: not member.leads)
        store = EtcdStore(members[0].settings(endpoints=tuple(member.url for member in members)))
        confirmed: list[str] = []
        open_: list[str] = []
        done = asyncio.Event()
        async with Watching(store, "/k/", 1) as watching:
            writing = asyncio.create_task(write_until(done, store, confirmed, open_))
            await eventually(lambda: len(confirmed) > 50)
            members[0].kill()
            so_far = len(confirmed)
            await eventually(lambda: len(confirmed) > so_far + 50, within=30)
            done.set()
            await writing
            await eventually(lambda: confirmed[-1] in watching.values)
        await store.close()
    assert [value for value in watching.values if value not in open_] == confirmed
    assert len(set(watching.values)) == len(watching.values)
