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
import asyncio, sys, time
from controlplane.store import EtcdSettings, EtcdStore, Put, StoreError
from controlplane.store.election import Deposed, Election

async def write(store, key):
    number = 0
    while True:
        number += 1
        try:
            await store.commit({}, [Put(key, f"paused {number}".encode())])
        except Deposed:
            print("deposed", flush=True)
            return
        except StoreError as error:  # a call that the pause cut short
            print("not written", error, flush=True)
        else:
            print("wrote", number, flush=True)
        time.sleep(0.01)  # not asyncio.sleep: the next thing after the pause is a write, and no other task's turn

async def main(url, key, name):
    elected = asyncio.get_running_loop().create_future()

    async def work(store):
        elected.done() or elected.set_result(store)
        await asyncio.Event().wait()

    # The writer is no part of the work, which the election cancels when it notices that the lease is over: this one
    # is to believe that it leads.
    election = asyncio.create_task(Election(EtcdStore(EtcdSettings((url,))), name, "paused", ttl=1.0).run(work))
    await write(await elected, key)
    election.cancel()

asyncio.run(main(*sys.argv[1:]))
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
        await eventually(lambda: "wrote 3" in paused.log.read_text())
        task = asyncio.create_task(Election(store, "fencing-test", "ours", ttl=1.0, pause=0.05).run(work))
        await eventually(lambda: "wrote 6" in paused.log.read_text())
        assert not terms
        paused.signal(signal.SIGSTOP)
        await eventually(lambda: terms)
        paused.signal(signal.SIGCONT)
        await eventually(lambda: "deposed" in paused.log.read_text())
        entry = await store.get("/test/fenced/work")
        assert entry is not None and entry.value == b"ours"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        paused.kill()
        await store.close()
