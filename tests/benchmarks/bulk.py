"""Large bodies: 10 MiB down and up, MiB per second over nginx with its default buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from tests.benchmarks.bed import Bed
from tests.benchmarks.figures import Part, paired, snake
from tests.benchmarks.load import Transfers, transfers
from tests.benchmarks.progress import tell
from tests.benchmarks.rounds import Rounds

PATHS = {"download": "/download/large", "upload": "/upload"}
Key = tuple[str, str]
"""Direction and contender."""


def measure(bed: Bed, rounds: Rounds) -> Part:
    """Both directions, Headgate (with the policy) and nginx in turn."""
    contenders = [bed.gateway.policy_on, *bed.peers("nginx plain")]
    samples: dict[Key, list[Transfers]] = {}
    for number in range(rounds.count + 1):
        for direction, path in PATHS.items():
            for contender in contenders:
                asked = replace(contender, path=path)
                sample = transfers(asked, direction, bed.tokens, rounds.seconds if number else 0.5)
                tell(number, contender.name, f"{direction} {sample.mib_per_second:,.0f} MiB/s")
                if number:
                    samples.setdefault((direction, contender.name), []).append(sample)
    rows = [sample for found in samples.values() for sample in found]
    errors, waited = sum(row.errors for row in rows), [row.spent.waited for row in rows]
    return Part(figures(samples), table(samples), errors, waited)


def figures(samples: Mapping[Key, Sequence[Transfers]]) -> dict[str, float]:
    """MiB/s over nginx, CPU per transfer over nginx's (how many times cheaper), and the medians."""
    found = {}
    for direction in PATHS:
        ours = samples[direction, "headgate policy"]
        theirs = samples.get((direction, "nginx plain"))
        if theirs is not None:
            name = f"{direction}_10mib_over_nginx"
            found[name] = paired([s.mib_per_second for s in ours], [s.mib_per_second for s in theirs])
            costs = [[s.cpu_ms_per_transfer for s in rows] for rows in (theirs, ours)]
            found[f"{direction}_10mib_cpu_over_nginx"] = paired(*costs)
    for (direction, name), rows in samples.items():
        found[f"{direction}_mib_s_{snake(name)}"] = median(s.mib_per_second for s in rows)
    return found


def table(samples: Mapping[Key, Sequence[Transfers]]) -> list[str]:
    """The medians as text."""
    lines = [f"{'10 MiB bodies':33}{'MiB/s':>9}{'ms CPU/transfer':>17}{'errors':>8}{'CPU busy':>10}"]
    for (direction, name), rows in samples.items():
        rate = median(s.mib_per_second for s in rows)
        cost, busy = median(s.cpu_ms_per_transfer for s in rows), median(s.spent.busy for s in rows)
        errors = sum(s.errors for s in rows)
        lines.append(f"{direction:11}{name:22}{rate:>9,.0f}{cost:>17.1f}{errors:>8}{busy:>10.0%}")
    return lines
