"""How long a loaded worker pauses while a change lands in a table of 10,000 routes.

Seen from outside: a steady open-loop load on the worker, the longest latency while a change is on its way, less the
longest latency in an equally long time without one. The supervisor gives way to its worker, the control plane and the
store to the load generator, whose own pauses would count as the worker's.
From inside: how long the worker's event loop is blocked by the longest piece of such a change (module `blocking`).
The figure is the greater of the two: on a noisy machine a pause of a millisecond is not seen from outside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from demo.processes import ROOT
from tests.benchmarks.bed import Bed
from tests.benchmarks.figures import Part
from tests.benchmarks.load import LoadError, Timeline, open_argv, pinned
from tests.benchmarks.machine import LAST, PROXY_CPUS, prioritise, tree
from tests.benchmarks.progress import say
from tests.benchmarks.rounds import Rounds
from tests.benchmarks.stack import FEW, Stack, route

RATE = 4000.0
"""Requests per second: a pause is seen to a quarter of a millisecond."""
WAIT = 30
"""Seconds in which a change must be served."""
SETTLE = 0.05
"""Seconds after a change that still count as its own: the garbage it made is collected."""
Window = tuple[float, float]


def measure(bed: Bed, rounds: Rounds) -> Part:
    """Changes of one route and of a hundred, while the worker serves."""
    say("changes in a table of 10,000 routes, under load …")
    stack = bed.large
    set_apart(stack)
    changes, quiet, timeline, errors = under_load(stack, bed.folder / "timeline", 4 * rounds.count)
    inside = blocking()
    return Part(figures(changes, quiet, timeline, inside), table(changes, quiet, timeline, inside), errors)


def set_apart(stack: Stack) -> None:
    """Everything but the worker gives way: its supervisor to the worker, the others to the load generator."""
    for member in tree(stack.node.pid):
        if "dataplane.worker" not in member.cmdline():
            # One session with the worker, which is not to give way.
            prioritise(member.pid, LAST, session=False)
    for process in (stack.control, stack.etcd):
        prioritise(process.pid, LAST)


def under_load(
    stack: Stack, path: Path, count: int
) -> tuple[dict[int, list[Window]], list[Window], Timeline, int]:
    """The windows of `count` changes by their size, windows without, and every answer's latency."""
    changes: dict[int, list[Window]] = {1: [], 100: []}
    quiet: list[Window] = []
    asked = stack.at("probe", "/r", FEW)
    argv = [*open_argv(asked, stack.tokens, 3600, RATE), "--arrivals=steady", f"--timeline={path}"]
    with subprocess.Popen(pinned(argv), cwd=ROOT, stdout=subprocess.PIPE, text=True) as probe:
        try:
            sleep(1.5)
            for number in range(count):
                size = 1 if number % 4 else 100
                changes[size].append(land(stack, number, size))
                began, (start, end) = monotonic(), changes[size][-1]
                sleep(end - start)
                quiet.append((began, monotonic()))
            probe.terminate()
            printed, _ = probe.communicate(timeout=30)
        finally:
            probe.kill()
    if probe.returncode:
        raise LoadError(f"the open-loop generator ended with code {probe.returncode}")
    found = json.loads(printed)
    errors = (
        found["broken"] + found["unsent"] + sum(n for code, n in found["statuses"].items() if code != "200")
    )
    return changes, quiet, Timeline.read(path), errors


def land(stack: Stack, number: int, size: int) -> Window:
    """Change `size` routes, wait until they are served; when it began and when it was over."""
    changed = [route(f"r-{n}", f"/r/{n}", timeout=20 + number) for n in range(1000, 1000 + size)]
    began = monotonic()
    answer = stack.admin.post(f"/api/v1/apply?wait={WAIT}", json={"routes": changed}).raise_for_status()
    if answer.json().get("state") != "served":
        raise LoadError(f"a change was not served within {WAIT} s: {answer.text[:200]}")
    sleep(SETTLE)
    return began, monotonic()


def blocking() -> dict[str, float]:
    """The view from inside."""
    argv = ["taskset", "-c", ",".join(map(str, sorted(PROXY_CPUS))), sys.executable, "-m"]
    run = subprocess.run(
        [*argv, "tests.benchmarks.blocking"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if run.returncode:
        raise LoadError(f"tests.benchmarks.blocking failed:\n{run.stderr}")
    return {name: float(value) for name, value in json.loads(run.stdout).items()}


def worst(windows: list[Window], timeline: Timeline) -> list[float]:
    """The longest latency in each window, in milliseconds."""
    return [1000 * timeline.worst(begin, end) for begin, end in windows]


def figures(
    changes: dict[int, list[Window]], quiet: list[Window], timeline: Timeline, inside: dict[str, float]
) -> dict[str, float]:
    """Medians over changes: single outliers are the machine's."""
    still = median(worst(quiet, timeline))
    single, hundred = worst(changes[1], timeline), worst(changes[100], timeline)
    return {
        "change_pause_ms_10000": max(median(single) - still, inside["change_blocks_ms_10000"]),
        "change_pause_worst_ms_10000": max(single),
        "change_100_pause_ms_10000": max(median(hundred) - still, inside["change_100_blocks_ms_10000"]),
        "quiet_longest_ms_10000": still,
        "change_served_ms_10000": median(1000 * (end - begin - SETTLE) for begin, end in changes[1]),
        **inside,
    }


def table(
    changes: dict[int, list[Window]], quiet: list[Window], timeline: Timeline, inside: dict[str, float]
) -> list[str]:
    """As text."""
    lines = [f"{'10,000 routes, longest ms':33}{'median':>9}{'worst':>9}"]
    rows = {"without a change": quiet, "one route changes": changes[1], "100 routes change": changes[100]}
    for name, windows in rows.items():
        values = worst(windows, timeline)
        lines.append(f"{name:33}{median(values):>9.2f}{max(values):>9.2f}")
    lines += [f"{name.replace('_', ' '):33}{value:>9.2f}" for name, value in inside.items()]
    return lines
