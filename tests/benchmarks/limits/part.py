"""All of it in one run: one worker's requests per second, latency and memory, then a fleet."""

from __future__ import annotations

from tests.benchmarks.bed import Bed
from tests.benchmarks.figures import Part, joined
from tests.benchmarks.limits import gateway, memory, shared, single
from tests.benchmarks.rounds import Rounds

LONGEST = 2.0
"""Seconds of load that make one sample, at most."""


def measure(bed: Bed, rounds: Rounds) -> Part:
    """In shorter rounds the fleet is loaded for less time, too."""
    with gateway.running(bed) as (stack, contenders):
        parts = [
            single.throughput(contenders, stack.tokens, rounds),
            single.added_latency(contenders, stack.tokens, rounds),
            memory.measure(stack),
        ]
    parts.append(shared.measure(bed.folder / "fleet", shared.SECONDS * rounds.seconds / LONGEST))
    return joined(parts)
