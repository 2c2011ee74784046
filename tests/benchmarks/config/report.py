"""The figures with what they must be and what they aim at, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.machine import facts, versions

GOALS: Mapping[str, tuple[str, float, float]] = {
    "propagation_p99_ms_100": ("change → all of 100 data planes, p99, ms", 60, 30),
    "propagation_p99_ms_1000": ("the same, 1,000 streams on two control planes, ms", 400, 200),
    "churn_p99_ms": ("under 50 changes/s at 10,000 routes, 100 data planes, p99, ms", 200, 60),
    "churn_half_p99_ms": ("the same, the control plane given half a CPU, ms", 400, 150),
    "block_ms": ("longest block of its event loop: apply, history, rollback, ms", 20, 5),
    "churn_traffic_p99_ratio": ("traffic p99 under these changes over quiet", 1.1, 1.02),
    "reports_controlplane_cpu": (
        "control plane, 1,000 data planes report on 5,000 instances, cores",
        0.25,
        0.1,
    ),
    "leases_10000_cpu": ("cores, 10,000 instances kept alive (per core: 20,000; 100,000)", 0.5, 0.1),
    "controlplane_rss_mib": ("control plane memory, 10,000 routes, 1,000 streams, MiB", 500, 250),
    "cold_start_ready_s": ("cold data plane with 10,000 routes: start → ready, s", 2, 0.7),
}
"""By stable name: in words, must, aim. Less is better."""


def table(figures: Mapping[str, float]) -> str:
    """The figures as text; those without a goal stand below."""
    lines = [f"{'':66}{'found':>9}{'must':>8}{'aim':>7}"]
    for name, (words, must, aim) in GOALS.items():
        if name in figures:
            found = figures[name]
            verdict = "" if found <= aim else "  within must" if found <= must else "  MISSED"
            lines.append(f"{words:66}{found:>9.2f}{must:>8g}{aim:>7g}{verdict}")
    lines += [f"{name:66}{figures[name]:>9.2f}" for name in figures if name not in GOALS]
    return "\n".join(lines)


def write(figures: Mapping[str, float], path: Path) -> None:
    """The same for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "figures": {name: round(value, 3) for name, value in figures.items()},
        "goals": {name: {"must": must, "aim": aim} for name, (_, must, aim) in GOALS.items()},
        "machine": facts(),
        "versions": versions(),
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
