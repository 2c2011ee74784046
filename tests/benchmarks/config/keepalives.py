"""What keep-alives of a large fleet cost: `python -m tests.benchmarks.config.keepalives [N]`.

N instances under a lease each in a real etcd, followed by a watcher and renewed by the command that the registry calls:
everything but the wire between services and control plane. CPU times are those of the processes.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import uvloop

from controlplane.commands.commands import Commands
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.model.resources import Instance, Service
from controlplane.model.stored import encode, key_of
from controlplane.store import EtcdSettings, EtcdStore, Put
from demo.processes import Etcd

TTL = 3600.0
"""Long enough for filling the store; what is printed is reckoned for the pace of 15 s."""
PACE = 5.0
OF_A_SERVICE = 100
AT_ONCE = 200


def parts(count: int) -> Iterator[range]:
    """The numbers in turns of AT_ONCE."""
    for first in range(0, count, AT_ONCE):
        yield range(first, min(first + AT_ONCE, count))


def instance(number: int) -> Instance:
    """One of many."""
    host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return Instance(service_name=f"s{number // OF_A_SERVICE}", instance_id=f"i{number}", host=host, port=80)


async def fill(store: EtcdStore, count: int) -> Sequence[int]:
    """Services and instances as registrations leave them; the leases."""
    services = [Service(service_name=f"s{number}") for number in range(count // OF_A_SERVICE + 1)]
    leases: list[int] = []
    for first in range(0, len(services), 100):
        await store.commit(
            {}, [Put(key_of("service", one.name), encode(one)) for one in services[first : first + 100]]
        )
    for numbers in parts(count):
        granted = await asyncio.gather(*(store.grant(TTL) for _ in numbers))
        puts = [
            Put(key_of("instance", instance(number).name), encode(instance(number)), lease)
            for number, lease in zip(numbers, granted, strict=True)
        ]
        await asyncio.gather(
            *(store.commit({}, puts[first : first + 100]) for first in range(0, len(puts), 100))
        )
        leases += granted
    return leases


async def run(count: int, etcd_pid: int, url: str) -> None:
    """Print the figures."""
    store, etcd, own = EtcdStore(EtcdSettings((url,))), psutil.Process(etcd_pid), psutil.Process()
    leases = await fill(store, count)
    watcher = Watcher(store)
    following = asyncio.create_task(watcher.run())
    await watcher.caught_up.wait()
    commands = Commands(store, Hasher(), time.time, watcher)
    before, before_etcd, began = time.process_time(), etcd.cpu_times(), time.monotonic()
    for numbers in parts(count):
        await asyncio.gather(*(commands.keep(instance(n).name, leases[n]) for n in numbers))
    took = time.monotonic() - began
    ours = (time.process_time() - before) / count
    after = etcd.cpu_times()
    theirs = (after.user + after.system - before_etcd.user - before_etcd.system) / count
    say = sys.stdout.write
    say(f"{count} instances under lease; all renewed once in {took:.1f} s\n")
    say(f"a keep-alive: {1e6 * ours:.0f} µs of the control plane, {1e6 * theirs:.0f} µs of etcd\n")
    say(f"every {PACE:g} s: {ours * count / PACE:.2f} and {theirs * count / PACE:.2f} cores\n")
    say(f"memory: {own.memory_info().rss / 2**20:.0f} MiB, etcd {etcd.memory_info().rss / 2**20:.0f} MiB\n")
    following.cancel()
    await asyncio.wait([following])
    await store.close()


def main() -> int:
    """Start etcd, run, and stop it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        etcd = Etcd()
        process = etcd.start(Path(folder))
        try:
            uvloop.run(run(count, process.pid, etcd.url))
        finally:
            process.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
