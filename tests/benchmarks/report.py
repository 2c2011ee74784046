"""The table a person reads and the JSON a program reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.figures import Part, rounded
from tests.benchmarks.goals import GOALS
from tests.benchmarks.machine import facts, versions
from tests.benchmarks.stack import is_compiled

CALM = 0.05
"""The share of the time that proxies may wait for a CPU before figures are called provisional."""


def figures(parts: Sequence[Part]) -> dict[str, float]:
    """Every figure of every part."""
    return rounded({name: value for part in parts for name, value in part.figures.items()})


def table(parts: Sequence[Part], missing: Mapping[str, str]) -> str:
    """What was measured, then each goal and whether it is reached."""
    lines = []
    for part in parts:
        lines += [*part.lines, ""]
    lines += [f"{name:22}missing: {reason}" for name, reason in missing.items()]
    lines += ["" for _ in missing][:1]
    lines.append(f"{'figure':34}{'found':>10}{'must':>9}{'aim':>9}")
    found = figures(parts)
    for name, goal in GOALS.items():
        if name in found:
            sign = "≤" if goal.less_is_better else "≥"
            must, aim = f"{sign} {goal.must:g}", f"{sign} {goal.aim:g}"
            value = f"{found[name]:.2f} {goal.unit}"
            lines.append(f"{name:34}{value:>10}{must:>9}{aim:>9}   {goal.verdict(found[name])}")
    return "\n".join([*lines, *warnings(parts)])


def warnings(parts: Sequence[Part]) -> list[str]:
    """What a reader must know before believing the figures."""
    found = []
    errors = sum(part.errors for part in parts)
    if errors:
        found.append(f"{errors} requests failed: the figures are worth nothing.")
    share = waited(parts)
    if share > CALM:
        words = f"In half of the rounds the proxy waited {share:.0%} of the time for its CPU"
        found.append(f"{words}: provisional figures.")
    return ["", *found] if found else []


def waited(parts: Sequence[Part]) -> float:
    """The median share of the time in which a proxy was ready to run, and something else had its CPU."""
    return median([share for part in parts for share in part.waited] or [0.0])


def document(parts: Sequence[Part], missing: Mapping[str, str]) -> dict[str, object]:
    """The same for programs."""
    found = figures(parts)
    goals = {
        name: {
            "must": goal.must,
            "aim": goal.aim,
            "better": "lower" if goal.less_is_better else "higher",
            "unit": goal.unit,
            "reached": goal.verdict(found[name]) if name in found else "not measured",
        }
        for name, goal in GOALS.items()
    }
    return {
        "figures": found,
        "goals": goals,
        "missing": dict(missing),
        "errors": sum(part.errors for part in parts),
        "waited_for_cpu": round(waited(parts), 3),
        "compiled": is_compiled(),
        "machine": facts(),
        "versions": versions(),
    }


def write(content: Mapping[str, object], path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
