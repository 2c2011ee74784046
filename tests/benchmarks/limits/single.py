"""What a limit costs one worker by where it is counted: in the worker, by leases of the fleet, in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

from tests.benchmarks.contenders import Contender
from tests.benchmarks.figures import Part, paired, snake
from tests.benchmarks.latency import half_load
from tests.benchmarks.latency import table as latency_table
from tests.benchmarks.limits.gateway import LOCAL, REDIS
from tests.benchmarks.load import Sample, closed, open_loop
from tests.benchmarks.progress import say, tell
from tests.benchmarks.rounds import Rounds
from tests.benchmarks.throughput import table, totals

MORE = 2
"""Rounds for each one of other measurements: these ratios are near 1."""

Samples = Mapping[str, Sequence[Sample]]


def throughput(asked: Sequence[Contender], tokens: Path, rounds: Rounds) -> Part:
    """Requests per second; in each round in the other order."""
    samples: dict[str, list[Sample]] = {one.name: [] for one in asked}
    for number in range(MORE * rounds.count + 1):
        for one in asked if number % 2 else reversed(asked):
            sample = closed(one, tokens, rounds.seconds)
            tell(number, one.name, f"{sample.requests_per_second:>10,.0f} requests/s")
            if number:
                samples[one.name].append(sample)
    return Part(ratios(samples), [*table(samples), "", *spread(samples)], *totals(samples))


def ratios(samples: Samples) -> dict[str, float]:
    """Each over the local limit; of CPU, how many times cheaper it is."""
    found = {}
    rates = {name: [row.requests_per_second for row in rows] for name, rows in samples.items()}
    costs = {name: [row.cpu_us_per_request for row in rows] for name, rows in samples.items()}
    for name in samples:
        label = snake(name)
        found[f"limits_rps_{label}"], found[f"limits_cpu_us_{label}"] = (
            median(rates[name]),
            median(costs[name]),
        )
        if name != LOCAL:
            short = label.removesuffix("_limit")
            found[f"limits_rps_{short}_over_local"] = paired(rates[name], rates[LOCAL])
            found[f"limits_cpu_{short}_over_local"] = paired(costs[LOCAL], costs[name])
    return found


def spread(samples: Samples) -> list[str]:
    """The quartiles of the rounds' ratios."""
    lines = [f"{'requests/s over local':22}{'median':>12}{'quartiles':>20}"]
    local = [row.requests_per_second for row in samples[LOCAL]]
    for name, rows in samples.items():
        if name != LOCAL:
            over = [row.requests_per_second / base for row, base in zip(rows, local, strict=True)]
            low, middle, high = quantiles(over, n=4, method="inclusive")
            lines.append(f"{name:22}{middle:>12.3f}{f'{low:.3f} to {high:.3f}':>20}")
    return lines


def added_latency(asked: Sequence[Contender], tokens: Path, rounds: Rounds) -> Part:
    """What a limit in Redis adds to the p99, at half of the load that it can take; open loop, in turns."""
    asked = [one for one in asked if one.name in (LOCAL, REDIS)]
    if len(asked) < 2:
        return Part()
    rate = half_load(asked, tokens, rounds)
    say(f"open loop at {rate:,.0f} requests/s, half of what the slower one can do")
    runs: dict[str, list[dict[str, float]]] = {one.name: [] for one in asked}
    for number in range(1, MORE * rounds.count + 1):
        for one in asked if number % 2 else reversed(asked):
            run = open_loop(one, tokens, rounds.seconds, rate)
            tell(number, one.name, f"p99 {run['p99_ms']:.2f} ms")
            runs[one.name].append(run)
    rows = [row for found in runs.values() for row in found]
    errors, waited = sum(int(row["errors"]) for row in rows), [row["waited"] for row in rows]
    return Part(added(runs, rate), latency_table(runs), errors, waited)


def added(runs: Mapping[str, Sequence[Mapping[str, float]]], rate: float) -> dict[str, float]:
    """The median of the rounds' differences, and the medians behind it."""
    found = {"limits_half_load_rps": rate}
    for tail in ("p50_ms", "p99_ms"):
        pairs = zip(runs[REDIS], runs[LOCAL], strict=True)
        found[f"limits_redis_added_{tail}"] = median(redis[tail] - local[tail] for redis, local in pairs)
        for name, rows in runs.items():
            found[f"limits_{tail}_half_load_{snake(name)}"] = median(row[tail] for row in rows)
    return found
