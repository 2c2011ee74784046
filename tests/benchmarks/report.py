"""From samples to figures: medians, ratios within one run, the table a person reads and the JSON a program reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.load import Sample
from tests.benchmarks.machine import facts, versions

RATIOS = {
    "policy_rps_over_envoy": ("headgate policy", "envoy policy"),
    "policy_rps_over_nginx_plain": ("headgate policy", "nginx plain"),
    "policy_rps_over_envoy_plain": ("headgate policy", "envoy plain"),
    "policy_on_over_off": ("headgate policy", "headgate plain"),
}
GOALS = {"policy_rps_over_envoy": 1.7}

Samples = Mapping[str, Sequence[Sample]]


def figures(samples: Samples) -> dict[str, float]:
    """Every ratio whose two sides were measured, by its stable name; CPU ratios say how many times cheaper."""
    rates = {name: median(s.requests_per_second for s in rows) for name, rows in samples.items()}
    costs = {name: median(s.cpu_us_per_request for s in rows) for name, rows in samples.items()}
    found = {name: rates[a] / rates[b] for name, (a, b) in RATIOS.items() if a in rates and b in rates}
    for name, (ours, theirs) in RATIOS.items():
        if "_rps_" in name and ours in costs and theirs in costs:
            found[name.replace("_rps_", "_cpu_")] = costs[theirs] / costs[ours]
    for name in costs:
        found[f"cpu_us_{name.replace(' ', '_')}"] = costs[name]
        found[f"rps_{name.replace(' ', '_')}"] = rates[name]
    return {name: round(value, 3) for name, value in found.items()}


def table(samples: Samples, missing: Mapping[str, str]) -> str:
    """The medians as text, missing peers with their reason."""
    lines = [f"{'':18}{'requests/s':>12}{'µs CPU/request':>16}{'p99 ms':>9}{'errors':>8}"]
    for name, rows in samples.items():
        rate = median(s.requests_per_second for s in rows)
        cost = median(s.cpu_us_per_request for s in rows)
        tail = median(s.p99_ms for s in rows)
        lines.append(f"{name:18}{rate:>12,.0f}{cost:>16.1f}{tail:>9.2f}{sum(s.errors for s in rows):>8}")
    lines += [f"{name:18}{'missing: ' + reason}" for name, reason in missing.items()]
    lines.append("")
    for name, value in figures(samples).items():
        if "_over_" in name:
            goal = f"   goal {GOALS[name]}" if name in GOALS else ""
            lines.append(f"{name:36}{value:>7.2f} ×{goal}")
    return "\n".join(lines)


def write(samples: Samples, missing: Mapping[str, str], path: Path) -> None:
    """The same for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "figures": figures(samples),
        "missing": dict(missing),
        "machine": facts(),
        "versions": versions(),
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
