"""What keep-alives of a large fleet cost: `python -m tests.benchmarks.config.keepalives [N]`.

N instances under a lease each in a real etcd, followed by a watcher and renewed by the command that the registry calls:
everything but the wire between services and control plane. CPU times are those of the processes. Renewals are spread
evenly over the pace of a keep-alive, once with a lease in each message and once with ten.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import uvloop

from controlplane.commands.commands import Commands
from controlplane.commands.errors import Kept
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.model.resources import Instance, Service
from controlplane.model.stored import encode, key_of
from controlplane.store import EtcdSettings, EtcdStore, Put
from demo.processes import Etcd

TTL = 3600.0
"""Long enough for filling the store."""
PACE = 5.0
"""Seconds between two keep-alives of a lease of 15 s, for which cores are reckoned."""
ROUND = 6.0
"""Seconds between two keep-alives here: of a lease this long, one that was renewed 5 s ago is not renewed again."""
ROUNDS = 4
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


def name_of(number: int) -> str:
    """Its name."""
    return f"s{number // OF_A_SERVICE}/i{number}"


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


class Lag:
    """How long the event loop was held up."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self._longest = max(self._longest, time.monotonic() - began - 0.005)

    def take(self) -> float:
        """The longest block since the last call, in seconds."""
        longest, self._longest = self._longest, 0.0
        return longest


async def renew(commands: Commands, leases: Sequence[int], together: int) -> int:
    """Renew all at the pace, some of them with each message; how many were not renewed."""
    tasks, began, failed = set(), time.monotonic(), 0
    firsts = range(0, len(leases), together)
    for number, first in enumerate(firsts):
        await asyncio.sleep(max(0.0, began + ROUND * number / len(firsts) - time.monotonic()))
        held = {leases[n]: name_of(n) for n in range(first, min(first + together, len(leases)))}
        task = asyncio.create_task(commands.keep_all(held))
        tasks.add(task)
        if len(tasks) > 2000:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failed += sum(not isinstance(one, Kept) for task in done for one in task.result().values())
    done, _ = await asyncio.wait(tasks)
    return failed + sum(not isinstance(one, Kept) for task in done for one in task.result().values())


async def run(count: int, etcd_pid: int, url: str) -> None:
    """Print the figures."""
    logging.basicConfig(level=logging.WARNING)
    store, etcd, own = EtcdStore(EtcdSettings((url,))), psutil.Process(etcd_pid), psutil.Process()
    say, lag = sys.stdout.write, Lag()
    leases = await fill(store, count)
    watcher, began = Watcher(store), time.monotonic()
    beside = [asyncio.create_task(watcher.run()), asyncio.create_task(lag.watch())]
    await watcher.caught_up.wait()
    say(f"{count} instances under lease, taken in within {time.monotonic() - began:.1f} s, ")
    say(f"the event loop held up for {lag.take():.2f} s at most\n")
    commands = Commands(store, Hasher(), time.time, watcher)
    for together in (1, 10):
        failed = await renew(commands, leases, together)  # opens the stream, and warms up
        lag.take()
        before, before_etcd, began = time.process_time(), etcd.cpu_times(), time.monotonic()
        for _ in range(ROUNDS):
            failed += await renew(commands, leases, together)
        took, after = time.monotonic() - began, etcd.cpu_times()
        ours = (time.process_time() - before) / count / ROUNDS
        theirs = (after.user + after.system - before_etcd.user - before_etcd.system) / count / ROUNDS
        say(f"{together} in a message: {ROUNDS} rounds in {took:.1f} s, {failed} not renewed; ")
        say(f"a keep-alive: {1e6 * ours:.0f} µs of the control plane, {1e6 * theirs:.0f} µs of etcd; ")
        say(f"every {PACE:g} s: {ours * count / PACE:.2f} and {theirs * count / PACE:.2f} cores; ")
        say(f"the event loop held up for {1000 * lag.take():.0f} ms at most\n")
    say(f"memory: {own.memory_info().rss / 2**20:.0f} MiB, etcd {etcd.memory_info().rss / 2**20:.0f} MiB\n")
    for task in beside:
        task.cancel()
    await asyncio.wait(beside)
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
