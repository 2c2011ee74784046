"""Requests per second and CPU per request, of every proxy on the same work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender
from tests.benchmarks.figures import Part, paired, snake
from tests.benchmarks.load import Sample, closed
from tests.benchmarks.progress import tell
from tests.benchmarks.rounds import Rounds

PEERS = ("nginx plain", "envoy plain", "envoy policy", "haproxy plain", "haproxy policy", "caddy plain")
RATIOS = {
    "policy_rps_over_envoy": ("headgate policy", "envoy policy"),
    "policy_rps_over_nginx_plain": ("headgate policy", "nginx plain"),
    "policy_rps_over_envoy_plain": ("headgate policy", "envoy plain"),
    "policy_rps_over_haproxy": ("headgate policy", "haproxy policy"),
    "policy_rps_over_haproxy_plain": ("headgate policy", "haproxy plain"),
    "policy_rps_over_caddy_plain": ("headgate policy", "caddy plain"),
    "policy_on_over_off": ("headgate policy", "headgate plain"),
    "policy_rps_over_new_heads": ("headgate policy", "headgate new heads"),
    "policy_rps_new_heads_over_envoy": ("headgate new heads", "envoy policy"),
    "policy_rps_compiled_over_uncompiled": ("headgate policy", "headgate uncompiled"),
    "policy_rps_uncompiled_over_envoy": ("headgate uncompiled", "envoy policy"),
}

Samples = Mapping[str, Sequence[Sample]]


def measure(bed: Bed, rounds: Rounds) -> Part:
    """Every proxy in turn, round by round; the first round warms up and does not count."""
    ours = [bed.gateway.policy_on, bed.gateway.policy_off, bed.gateway.fresh]
    if bed.uncompiled is not None:
        ours.append(bed.uncompiled)
    contenders = [*ours, *bed.peers(*PEERS)]
    samples = interleave(contenders, bed.tokens, rounds)
    return Part(figures(samples), table(samples), *totals(samples))


def interleave(contenders: Sequence[Contender], tokens: Path, rounds: Rounds) -> dict[str, list[Sample]]:
    """A sample of each per round."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(rounds.count + 1):
        for contender in contenders:
            sample = closed(contender, tokens, rounds.seconds if number else 1.0)
            tell(number, contender.name, f"{sample.requests_per_second:>10,.0f} requests/s")
            if number:
                samples[contender.name].append(sample)
    return samples


def figures(samples: Samples) -> dict[str, float]:
    """Every ratio whose two sides were measured; CPU ratios say how many times cheaper ours is."""
    rates = {name: [s.requests_per_second for s in rows] for name, rows in samples.items()}
    costs = {name: [s.cpu_us_per_request for s in rows] for name, rows in samples.items()}
    found = {}
    for name, (ours, theirs) in RATIOS.items():
        if ours in rates and theirs in rates:
            found[name] = paired(rates[ours], rates[theirs])
            if "_rps_" in name:
                found[name.replace("_rps_", "_cpu_")] = paired(costs[theirs], costs[ours])
    for name in samples:
        found[f"rps_{snake(name)}"] = median(rates[name])
        found[f"cpu_us_{snake(name)}"] = median(costs[name])
    return found


def table(samples: Samples) -> list[str]:
    """The medians as text."""
    lines = [f"{'':22}{'requests/s':>12}{'µs CPU/request':>16}{'p99 ms':>9}{'errors':>8}{'CPU busy':>10}"]
    for name, rows in samples.items():
        rate = median(s.requests_per_second for s in rows)
        cost = median(s.cpu_us_per_request for s in rows)
        tail, busy = median(s.p99_ms for s in rows), median(s.spent.busy for s in rows)
        errors = sum(s.errors for s in rows)
        lines.append(f"{name:22}{rate:>12,.0f}{cost:>16.1f}{tail:>9.2f}{errors:>8}{busy:>10.0%}")
    return lines


def totals(samples: Samples) -> tuple[int, list[float]]:
    """Errors, and how much of the time was waited for a CPU."""
    rows = [sample for found in samples.values() for sample in found]
    return sum(row.errors for row in rows), [row.spent.waited for row in rows]
