"""One measurement: wrk on keep-alive connections for some seconds, and what the proxy's process tree spent on it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contenders import Contender
from tests.benchmarks.machine import OTHER_CPUS, cpu_microseconds

SCRIPT = Path(__file__).parent / "requests.lua"
CONNECTIONS = 64


@dataclass(frozen=True)
class Sample:
    """What one round of load saw."""

    requests_per_second: float
    cpu_us_per_request: float
    p99_ms: float
    errors: int


class LoadError(Exception):
    """wrk could not run or printed something unknown."""


def measure(contender: Contender, tokens: Path, seconds: float) -> Sample:
    """Load one contender; every answer that is not 2xx or 3xx is an error."""
    cpus = ",".join(map(str, sorted(OTHER_CPUS)))
    argv = ["taskset", "-c", cpus, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    before = cpu_microseconds(contender.process.pid)
    run = subprocess.run(
        [*argv, "-s", str(SCRIPT), contender.url],
        env={**os.environ, "TOKENS": str(tokens), "TARGET": contender.path},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 30,
    )
    spent = cpu_microseconds(contender.process.pid) - before
    if run.returncode:
        raise LoadError(run.stderr.strip() or run.stdout.strip())
    return parse(run.stdout, spent)


def parse(printed: str, spent_us: float) -> Sample:
    """Read wrk's report."""
    total = re.search(r"(\d+) requests in", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", printed)
    if not (total and rate and p99):
        raise LoadError(f"wrk printed no result:\n{printed}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    errors = int(bad.group(1)) if bad else 0
    errors += sum(map(int, sockets.groups())) if sockets else 0
    milliseconds = float(p99.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99.group(2)]
    return Sample(float(rate.group(1)), spent_us / max(int(total.group(1)), 1), milliseconds, errors)
