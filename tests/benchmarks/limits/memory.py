"""Memory of a worker that counts by a million keys, each with a bucket that lacks tokens: none is as if never seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from demo.processes import DataPlane
from tests.benchmarks.contenders import MIB, Contender
from tests.benchmarks.figures import Part
from tests.benchmarks.limits.gateway import KEYS
from tests.benchmarks.load import closed
from tests.benchmarks.machine import PROXY_CPUS, pin, tree
from tests.benchmarks.progress import say
from tests.benchmarks.stack import NO_LIMIT, Stack, as_shipped

MANY = 1_000_000
TURN = 5.0
"""Seconds of load between two looks at how many keys there are."""
APART = 100_000_000
"""From the first number of a turn to the first one of the next: each request has a number of its own."""


def measure(stack: Stack, keys: int = MANY) -> Part:
    """A data plane of its own: what its worker has with that many keys, and without any."""
    settings = {**NO_LIMIT, **as_shipped()}
    plane = DataPlane(stack.controlplane.grpc, stack.controlplane.secrets, "keys", settings=settings)
    node = plane.start(stack.folder)
    try:
        pin(node.pid, PROXY_CPUS)
        worker = next(each for each in tree(node.pid) if "dataplane.worker" in each.cmdline())
        asked = Contender("keys", plane.url, node, KEYS, fresh=True)
        errors = closed(replace(asked, path="/open"), stack.tokens, 2.0).errors
        without = resident(worker)
        errors += fill(asked, stack.tokens, keys)
        found = resident(worker)
    finally:
        node.stop()
    figures = {"limits_worker_mib_1000000_keys": found, "limits_worker_mib_without_keys": without}
    lines = [f"{'memory of a worker':22}{'MiB':>12}", f"{'without keys':22}{without:>12.1f}"]
    return Part(figures, [*lines, f"{f'{keys:,} live keys':22}{found:>12.1f}"], errors)


def fill(asked: Contender, tokens: Path, wanted: int) -> int:
    """Ask with ever new numbers until there are as many keys; the requests that failed."""
    keys = errors = turn = 0
    while keys < wanted:
        turn += 1
        sample = closed(replace(asked, first=turn * APART), tokens, TURN)
        keys, errors = keys + int(sample.requests_per_second * TURN), errors + sample.errors
        say(f"{keys:>12,} keys")
    return errors


def resident(process: psutil.Process) -> float:
    """MiB."""
    return float(process.memory_info().rss) / MIB
