"""A leader that is paused (SIGSTOP) on a real etcd, and wakes up when another one leads."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from controlplane.store import EtcdStore, Put
from controlplane.store.election import Election, FencedStore
from demo.processes import Process, start
from tests.support.etcd import Etcd
from tests.support.waiting import eventually

LEADER = """
import asyncio, sys
from controlplane.store import EtcdSettings, EtcdStore, Put
from controlplane.store.election import Deposed, Election

async def work(store):
    print("elected", store.revision, flush=True)
    number = 0
    while True:
        number += 1
        try:
            await store.commit({}, [Put(sys.argv[2], f"paused {number}".encode())])
        except Deposed:
            print("deposed", flush=True)
            raise
        print("wrote", number, flush=True)
        # Not asyncio.sleep: nothing else gets a turn, so that the very next thing after the pause is a write.
        import time; time.sleep(0.01)

asyncio.run(Election(EtcdStore(EtcdSettings((sys.argv[1],))), sys.argv[3], "paused", ttl=1.0).run(work))
"""


@pytest.fixture
def paused(etcd: Etcd, tmp_path: Path) -> Process:
    argv = [sys.executable, "-c", LEADER, etcd.url, "/test/fenced/work", "fencing-test"]
    return start("leader", argv, {}, tmp_path)


async def test_a_paused_leader_that_wakes_cannot_write(etcd: Etcd, paused: Process) -> None:
    store = EtcdStore(etcd.settings())
    terms: list[int] = []
    done = asyncio.Event()

    async def work(fenced: FencedStore) -> None:
        terms.append(fenced.revision)
        await fenced.commit({}, [Put("/test/fenced/work", b"ours")])
        await done.wait()

    try:
        await eventually(lambda: "wrote 3" in paused.log.read_text(), within=30)
        task = asyncio.create_task(Election(store, "fencing-test", "ours", ttl=1.0, pause=0.05).run(work))
        await asyncio.sleep(0.2)
        assert not terms
        paused.signal(signal.SIGSTOP)
        await eventually(lambda: terms, within=30)
        paused.signal(signal.SIGCONT)
        await eventually(lambda: "deposed" in paused.log.read_text(), within=30)
        entry = await store.get("/test/fenced/work")
        assert entry is not None and entry.value == b"ours"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        paused.kill()
        await store.close()
