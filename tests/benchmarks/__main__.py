"""`make bench`: one worker of each proxy on one CPU, in interleaved rounds on the same work; medians and ratios.

Every contender stays up through the whole run and idles while another is loaded. The upstream, the load and the
control plane share the other CPUs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from demo.processes import ROOT, StartError
from tests.benchmarks import bed, bulk, change, connections, latency, report, tables, telemetry, throughput
from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import find
from tests.benchmarks.figures import Part
from tests.benchmarks.goals import missed
from tests.benchmarks.limits import part as limits
from tests.benchmarks.load import LoadError
from tests.benchmarks.machine import go_first
from tests.benchmarks.progress import say
from tests.benchmarks.rounds import NORMAL, QUICK, Rounds

Measure = Callable[[Bed, Rounds], Part]
PARTS: Mapping[str, tuple[Measure, float]] = {
    "policy": (throughput.measure, 4.0),
    "telemetry": (telemetry.measure, 4.0),
    "connections": (connections.measure, 4.0),
    "latency": (latency.measure, 4.0),
    "bulk": (bulk.measure, 2.0),
    "routes": (tables.measure, 4.0),
    "change": (change.measure, 4.0),
    "limits": (limits.measure, limits.LONGEST),
}
"""Each measurement, and the most seconds of load that make one of its samples."""
NEEDED = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
"""Commands without which nothing can be measured, and Debian's packages of them."""


def main() -> int:
    """Run the benchmark; return the exit code: 0 where every figure is what it must be, and no request failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="one of the measurements; repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a first impression")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of load per contender and round")
    parser.add_argument(
        "--first", action="store_true", help="before everything else on this machine (as root)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    options = parser.parse_args()
    absent = [command for command in NEEDED if find(command) is None]
    if absent:
        packages = " ".join(NEEDED[command] for command in absent)
        sys.stderr.write(f"make bench needs {', '.join(absent)} (Debian: apt-get install {packages})\n")
        return 2
    if options.first:
        go_first()
    rounds = QUICK if options.quick else NORMAL
    rounds = Rounds(options.rounds or rounds.count, options.seconds or rounds.seconds)
    try:
        with bed.made() as made:
            parts = run(made, options.only or list(PARTS), rounds)
    except (StartError, LoadError) as error:
        sys.stderr.write(f"make bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("make bench: interrupted; everything it started has ended\n")
        return 130
    say("\n" + report.table(parts, made.missing))
    report.write(report.document(parts, made.missing), options.output)
    say(f"\nWritten to {options.output}")
    worthless = any(part.errors for part in parts)
    return 1 if worthless or missed(report.figures(parts)) else 0


def run(made: Bed, names: list[str], rounds: Rounds) -> list[Part]:
    """The measurements one after the other, on the same processes."""
    parts = []
    for name in names:
        measure, seconds = PARTS[name]
        parts.append(measure(made, rounds.of(seconds)))
    return parts


if __name__ == "__main__":
    sys.exit(main())
