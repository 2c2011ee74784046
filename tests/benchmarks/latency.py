"""The p99 at half load: the same open-loop rate for both sides, half of what the slower one can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender
from tests.benchmarks.figures import Part, paired, snake
from tests.benchmarks.load import closed, open_loop
from tests.benchmarks.progress import say, tell
from tests.benchmarks.rounds import Rounds

Runs = Mapping[str, Sequence[Mapping[str, float]]]
DIRECT = "no proxy at all"
"""The generator and the upstream alone: what is the same for everybody."""


def measure(bed: Bed, rounds: Rounds) -> Part:
    """Headgate and Envoy with the policy, and the upstream without any proxy."""
    contenders = [bed.gateway.policy_on, *bed.peers("envoy policy")]
    rate = half_load(contenders, bed.tokens, rounds)
    say(f"open loop at {rate:,.0f} requests/s, half of what the slower one can do")
    upstream = Contender(DIRECT, f"http://127.0.0.1:{bed.upstream}", contenders[0].process)
    runs: dict[str, list[dict[str, float]]] = {c.name: [] for c in (*contenders, upstream)}
    for number in range(1, rounds.count + 1):
        for contender in (*contenders, upstream):
            run = open_loop(contender, bed.tokens, rounds.seconds, rate)
            tell(number, contender.name, f"p99 {run['p99_ms']:.2f} ms")
            runs[contender.name].append(run)
    waited = [run["waited"] for name in runs if name != DIRECT for run in runs[name]]
    errors = sum(int(run["errors"]) for rows in runs.values() for run in rows)
    return Part(figures(runs, rate), table(runs), errors, waited)


def half_load(contenders: Sequence[Contender], tokens: Path, rounds: Rounds) -> float:
    """Half of what the slowest can do: the median of three measurements each."""
    seconds = min(rounds.seconds, 2.0)
    rates = (
        median(closed(contender, tokens, seconds).requests_per_second for _ in range(3))
        for contender in contenders
    )
    return min(rates) / 2


def figures(runs: Runs, rate: float) -> dict[str, float]:
    """The ratio, and the medians behind it."""
    found = {"half_load_rps": rate}
    ours, theirs = "headgate policy", "envoy policy"
    if theirs in runs:
        tails = [[row["p99_ms"] for row in runs[name]] for name in (ours, theirs)]
        found["p99_half_load_over_envoy"] = paired(*tails)
    for name, rows in runs.items():
        label = "direct" if name == DIRECT else snake(name)
        found[f"p99_ms_half_load_{label}"] = median(row["p99_ms"] for row in rows)
        found[f"p50_ms_half_load_{label}"] = median(row["p50_ms"] for row in rows)
    return found


def table(runs: Runs) -> list[str]:
    """The medians as text."""
    columns = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")
    titles = "".join(f"{name.replace('_', ' '):>11}" for name in columns)
    lines = [f"{'at half load':22}{titles}{'generator: late p99 ms':>25}{'its CPU':>9}{'waited':>9}"]
    for name, rows in runs.items():
        values = "".join(f"{median(row[column] for row in rows):>11.2f}" for column in columns)
        late = median(row["late_p99_ms"] for row in rows)
        cpu = median(row["generator_cpu"] for row in rows)
        waited = median(row["waited"] for row in rows)
        lines.append(f"{name:22}{values}{late:>25.3f}{cpu:>9.0%}{waited:>9.0%}")
    return lines
