"""The simulated data planes as the driver sees them, and from what arrived to how long it took."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from demo.processes import ROOT, ControlPlane

Arrivals = Mapping[str, Sequence[tuple[int, float]]]
"""By node: revisions and when they arrived, in order."""


@dataclass(frozen=True)
class Change:
    """A revision, and when its write was begun (monotonic seconds)."""

    revision: int
    begun: float


class Streams:
    """The processes that hold the streams."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def arrivals(self, revision: int = 0) -> Arrivals:
        """What arrived since the last call, once every node has this revision or a later one, or ten seconds passed."""
        found: dict[str, Sequence[tuple[int, float]]] = {}
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{revision}\n")
            process.stdin.flush()
        for process in self._processes:
            found |= json.loads(_line(process))
        return found


@contextlib.contextmanager
def streams(
    controlplanes: Sequence[ControlPlane], count: int, processes: int = 1, services: int = 0
) -> Iterator[Streams]:
    """So many simulated data planes, all connected, spread evenly over the control planes.

    They report on so many of the services of `changes.quiet`.
    """
    started = []
    with contextlib.ExitStack() as stack:
        for number in range(processes):
            share = count // processes
            options = {
                "addresses": [one.grpc for one in controlplanes],
                "token": controlplanes[0].secrets.dataplane_token,
                "first": number * share,
                "count": share,
                "services": services,
            }
            argv = [sys.executable, "-m", "tests.benchmarks.config.streams", json.dumps(options)]
            process = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            assert _line(process) == "ready"
        yield Streams(started)


def latencies(changes: Sequence[Change], arrivals: Arrivals) -> list[float]:
    """For each change the milliseconds until the last node had it, or something later. Changes that did not arrive
    everywhere are infinitely late."""
    worst = [0.0] * len(changes)
    for arrived in arrivals.values():
        revisions = [revision for revision, _ in arrived]
        for number, change in enumerate(changes):
            at = bisect_left(revisions, change.revision)
            late = arrived[at][1] - change.begun if at < len(arrived) else float("inf")
            worst[number] = max(worst[number], late)
    return [1000 * seconds for seconds in worst]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the simulated data planes ended")
    return line.strip()
