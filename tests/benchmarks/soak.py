"""`make bench-soak`: 70 % load for ten minutes while the configuration changes and instances come, go and die.

Ends with 0 when no request failed for a reason of ours and no process of ours grew. An answer 502, 503 or 504 to a
request that was under way when an instance was killed, or came before the probes could have noticed, is that
instance's, not ours; anything else that is not 200, a broken connection too, is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

from demo.processes import ROOT, StartError
from tests.benchmarks import bed, report
from tests.benchmarks.bed import Bed
from tests.benchmarks.churn import INSTANCES, SERVICE, Happened, around
from tests.benchmarks.contenders import Contender, find
from tests.benchmarks.load import LoadError, Timeline, closed, open_argv, open_loop, pinned
from tests.benchmarks.machine import facts, go_first, tree, versions
from tests.benchmarks.memory import Memory
from tests.benchmarks.progress import say

SEGMENT = 15.0
"""Seconds of load by one generator process; the next takes over from it."""
LOAD = 0.7
LEAST, STEP = 2_000.0, 1.25
BEARABLE_MS = 50.0
"""A p99 above this says that requests are sent late: the generator shares its CPU with the services."""
EXCUSED = frozenset({502, 503, 504})
NOTICED = 4.0
"""Seconds from the death of an instance until probes have taken it out: three failed ones, a second apart."""
OURS = ("supervisor", "worker", "controlplane")
"""Processes whose memory is judged; the store's grows with its history until it compacts."""


@dataclass
class Outcome:
    """What the load saw."""

    requests: int = 0
    broken: int = 0
    """Requests that the gateway left without an answer."""
    unsent: int = 0
    """Requests that could not be sent: the load was more than the gateway took on this machine at that time."""
    failures: list[tuple[float, int]] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    """p99 of each segment, milliseconds."""

    def ours(self, kills: Iterable[float]) -> Counter[int]:
        """The failures that no killed instance explains, by status."""
        spans = [(at - 1.0, at + NOTICED) for at in kills]
        return Counter(
            status
            for due, status in self.failures
            if status not in EXCUSED or not any(begin <= due <= end for begin, end in spans)
        )


def main() -> int:
    """Run; 0 when all was well, 1 when not, 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="make bench-soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument(
        "--rate", type=float, help="requests per second, instead of 70 %% of what is measured"
    )
    parser.add_argument(
        "--first", action="store_true", help="before everything else on this machine (as root)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-soak.json")
    options = parser.parse_args()
    if absent := [command for command in ("nginx", "wrk", "taskset") if find(command) is None]:
        sys.stderr.write(f"make bench-soak needs {', '.join(absent)}\n")
        return 2
    if options.first:
        go_first()
    try:
        with bed.made() as made:
            content = asyncio.run(soak(made, options.seconds, options.rate))
    except (StartError, LoadError) as error:
        sys.stderr.write(f"make bench-soak: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("make bench-soak: interrupted; everything it started has ended\n")
        return 130
    report.write(content, options.output)
    say(f"\nWritten to {options.output}")
    return 0 if content["passed"] else 1


async def soak(made: Bed, seconds: float, rate: float | None) -> dict[str, object]:
    """Load, churn, and look."""
    stack = made.gateway
    asked = stack.at("headgate policy", f"/{SERVICE}")
    memory = Memory(processes(made))
    before = dict(processes(made))
    async with around(stack, made.folder / "instances") as happened:
        if rate is None:
            rate = LOAD * await asyncio.to_thread(capacity, asked, made)
        say(f"{seconds:,.0f} s at {rate:,.0f} requests/s, {INSTANCES} instances")
        sampling = asyncio.create_task(watch(memory))
        try:
            outcome = await load(asked, made, rate, seconds, happened)
        finally:
            sampling.cancel()
    return judge(outcome, happened, memory, rate, restarted=before != dict(processes(made)))


def capacity(asked: Contender, made: Bed) -> float:
    """Requests per second that the gateway takes, or, where that is less, that can be sent on a schedule here.

    The first is the median of three measurements; the second is found by trying.
    """
    most = median(closed(asked, made.tokens, 2.0).requests_per_second for _ in range(3))
    rate = LEAST
    while rate < most:
        found = open_loop(asked, made.tokens, 2.0, rate * STEP)
        if found["errors"] or found["p99_ms"] > BEARABLE_MS:
            return rate
        rate *= STEP
    return most


def processes(made: Bed) -> dict[str, int]:
    """Everything of Headgate, by what it is."""
    stack = made.gateway
    found = {"supervisor": stack.node.pid, "controlplane": stack.control.pid, "etcd": stack.etcd.pid}
    for process in tree(stack.node.pid)[1:]:
        if "dataplane.worker" in process.cmdline():
            found["worker"] = process.pid
    return found


async def watch(memory: Memory) -> None:
    """A sample every second."""
    began = monotonic()
    while True:
        memory.sample(monotonic() - began)
        await asyncio.sleep(1.0)


async def load(asked: Contender, made: Bed, rate: float, seconds: float, happened: Happened) -> Outcome:
    """Segment after segment."""
    outcome, until = Outcome(), monotonic() + seconds
    path = made.folder / "timeline"
    while (left := until - monotonic()) > 0.5:
        argv = open_argv(asked, made.tokens, min(SEGMENT, left), rate)
        process = await asyncio.create_subprocess_exec(
            *pinned([*argv, f"--timeline={path}"]), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise LoadError(f"the open-loop generator ended with code {process.returncode}")
        take(outcome, json.loads(printed), Timeline.read(path))
        words = (
            f"{outcome.requests:>12,} requests, p99 {outcome.tails[-1]:.1f} ms, {happened.changes} changes"
        )
        ours = sum(outcome.ours(happened.kills).values()) + outcome.broken
        say(
            f"{max(left - SEGMENT, 0):5.0f} s left {words}, {len(happened.kills)} kills, {ours} errors of ours"
        )
    return outcome


def take(outcome: Outcome, summary: dict[str, float], timeline: Timeline) -> None:
    """Add a segment."""
    outcome.requests += int(summary["sent"])
    outcome.broken += int(summary["broken"])
    outcome.unsent += int(summary["unsent"])
    outcome.failures += timeline.failures()
    outcome.tails.append(summary.get("p99_ms", 0.0))


def judge(
    outcome: Outcome, happened: Happened, memory: Memory, rate: float, *, restarted: bool
) -> dict[str, object]:
    """The verdict and everything behind it; tells it too."""
    ours = outcome.ours(happened.kills)
    sizes = {name: series.report() for name, series in memory.series.items() if series.points}
    flat = all(memory.series[name].flat for name in OURS)
    passed = (
        not ours
        and not outcome.broken
        and not outcome.unsent
        and flat
        and not restarted
        and outcome.requests > 0
    )
    say(f"\n{'MiB':14}{'first':>9}{'last':>9}{'most':>9}{'growth':>9}{'per hour':>10}")
    for name, row in sizes.items():
        values = (
            f"{row['first']:>9}{row['last']:>9}{row['most']:>9}{row['growth']:>9}{row['slope_per_hour']:>10}"
        )
        say(f"{name:14}{values}{'' if row['flat'] or name not in OURS else '   not flat'}")
    excused = len(outcome.failures) - sum(ours.values())
    say(
        f"\n{outcome.requests:,} requests, {excused} lost with killed instances, errors of ours: {dict(ours)}"
    )
    say(f"{outcome.broken} without an answer{'; a process was replaced' if restarted else ''}")
    if outcome.unsent:
        say(f"{outcome.unsent} could not be sent: this was more than 70 % of what the machine had to give")
    say("passed" if passed else "FAILED")
    return {
        "passed": passed,
        "rate": round(rate, 1),
        "requests": outcome.requests,
        "errors": {str(status): number for status, number in ours.items()},
        "broken": outcome.broken,
        "unsent": outcome.unsent,
        "lost_with_killed_instances": excused,
        "restarted": restarted,
        "p99_ms_by_segment": outcome.tails,
        "changes": happened.changes,
        "registrations": happened.registrations,
        "kills": len(happened.kills),
        "memory_mib": sizes,
        "machine": facts(),
        "versions": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
