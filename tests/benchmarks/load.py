"""One measurement: load in a process of its own for some seconds, and what the proxy's processes spent on it."""

from __future__ import annotations

import array
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from demo.processes import ROOT
from tests.benchmarks.contenders import LARGE, MIB, Contender, find
from tests.benchmarks.handshakes import THREADS
from tests.benchmarks.machine import OTHER_CPUS, cpu_microseconds

SCRIPT = Path(__file__).parent / "requests.lua"
CONNECTIONS = 64
TRANSFERS = 4
"""Connections that large bodies are sent over."""
PATIENCE = 60.0
"""Seconds that a load may take longer than it was told to."""


class LoadError(Exception):
    """A load generator could not run or printed something unknown."""


@dataclass
class Spent:
    """What a proxy's CPU did while something was measured."""

    cpu_us: float = 0.0
    """Of the contender's processes."""
    busy: float = 0.0
    """The contender's share of the proxies' CPU: near 1.0 it was the bottleneck."""
    waited: float = 0.0
    """For how much of the time it was ready to run and had no CPU: figures are worth the less the more it was."""


@dataclass(frozen=True)
class Sample:
    """What one round of closed-loop load saw."""

    requests_per_second: float
    cpu_us_per_request: float
    p99_ms: float
    errors: int
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True)
class Transfers:
    """What one round of large bodies saw."""

    mib_per_second: float
    cpu_ms_per_transfer: float
    errors: int
    spent: Spent = field(default_factory=Spent)


@contextmanager
def metered(contender: Contender) -> Iterator[Spent]:
    """Filled in at the end of the block."""
    spent = Spent()
    pid, began = contender.process.pid, monotonic()
    ran, waited = cpu_microseconds(pid)
    yield spent
    took = (monotonic() - began) * 1e6
    ran_then, waited_then = cpu_microseconds(pid)
    spent.cpu_us = ran_then - ran
    spent.busy, spent.waited = spent.cpu_us / took, (waited_then - waited) / took


def closed(contender: Contender, tokens: Path, seconds: float) -> Sample:
    """wrk: as many requests as the proxy answers. Every answer that is not 2xx or 3xx is an error."""
    seconds = max(round(seconds), 1)  # wrk takes whole ones
    argv = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(SCRIPT),
        contender.url,
    ]
    environment = {
        "TOKENS": str(tokens),
        "TARGET": contender.path,
        "COUNT": str(contender.paths),
        "FRESH": "1" if contender.fresh else "",
        "FIRST": str(contender.first),
        "CLOSE": "1" if contender.close else "",
    }
    with metered(contender) as spent:
        printed = run(argv, seconds, environment)
    return parse(printed, spent)


def handshakes(contender: Contender, kind: str, seconds: float) -> Sample:
    """A connection over TLS for each request: "full" handshakes, or "resumed" sessions."""
    argv = [sys.executable, "-m", "tests.benchmarks.handshakes", kind, f"--port={contender.tls_port}"]
    with metered(contender) as spent:
        found = json.loads(run([*argv, f"--path={contender.path}", f"--seconds={seconds:g}"], seconds))
    count, errors = found["requests"], found["errors"]
    if not count:
        raise LoadError(f"{contender.name} finished no handshake")
    # The first handshake of each thread is a full one.
    if kind == "resumed" and count - found["resumed"] > THREADS + errors:
        raise LoadError(f"{contender.name} resumed {found['resumed']} of {count} sessions")
    return Sample(count / seconds, spent.cpu_us / count, 0.0, errors, spent)


def open_loop(contender: Contender, tokens: Path, seconds: float, rate: float) -> dict[str, float]:
    """Requests at a rate, whatever the proxy does; `errors` counts all that were not answered 200."""
    with metered(contender) as spent:
        found = json.loads(run(open_argv(contender, tokens, seconds, rate), seconds))
    errors = (
        found.pop("broken")
        + found.pop("unsent")
        + sum(n for code, n in found.pop("statuses").items() if code != "200")
    )
    if not found["answered"]:
        raise LoadError(f"{contender.name} answered nothing")
    return {**found, "errors": errors, "busy": spent.busy, "waited": spent.waited}


def open_argv(contender: Contender, tokens: Path, seconds: float, rate: float) -> list[str]:
    """The command of the open-loop generator."""
    argv = [sys.executable, "-m", "tests.benchmarks.openloop", f"--port={contender.port}"]
    argv += [f"--path={contender.path}", f"--paths={contender.paths}", f"--tokens={tokens}"]
    return [*argv, f"--rate={rate:g}", f"--seconds={seconds:g}", f"--connections={CONNECTIONS}"]


def transfers(contender: Contender, direction: str, tokens: Path, seconds: float) -> Transfers:
    """Bodies of 10 MiB, "download" or "upload"."""
    argv = [sys.executable, "-m", "tests.benchmarks.transfer", direction, f"--port={contender.port}"]
    argv += [f"--path={contender.path}", f"--tokens={tokens}", f"--connections={TRANSFERS}"]
    with metered(contender) as spent:
        found = json.loads(run([*argv, f"--seconds={seconds:g}"], seconds))
    count = found["transfers"]
    if not count:
        raise LoadError(f"{contender.name}: no {direction} came to its end")
    rate = count * LARGE / MIB / found["seconds"]
    return Transfers(rate, spent.cpu_us / 1000 / count, found["errors"], spent)


def run(argv: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a load generator away from the proxies' CPU; what it printed."""
    try:
        done = subprocess.run(
            pinned(argv),
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{argv[0]} did not end within {seconds + PATIENCE:g} s") from None
    if done.returncode:
        raise LoadError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def pinned(argv: Sequence[str]) -> list[str]:
    """The command, on every CPU but the proxies'."""
    return [find("taskset") or "taskset", "-c", ",".join(map(str, sorted(OTHER_CPUS))), *argv]


def parse(printed: str, spent: Spent) -> Sample:
    """Read wrk's report."""
    total = re.search(r"(\d+) requests in", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", printed)
    if not (total and rate and p99):
        raise LoadError(f"wrk printed no result:\n{printed}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    errors = int(bad.group(1)) if bad else 0
    errors += sum(map(int, sockets.groups())) if sockets else 0
    milliseconds = float(p99.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[p99.group(2)]
    cost = spent.cpu_us / max(int(total.group(1)), 1)
    return Sample(float(rate.group(1)), cost, milliseconds, errors, spent)


@dataclass(frozen=True)
class Timeline:
    """Every answer of an open-loop run: when its request was due (monotonic clock), latency in seconds, status."""

    dues: Sequence[float]
    latencies: Sequence[float]
    codes: Sequence[float]

    @classmethod
    def read(cls, path: Path) -> Timeline:
        """What the generator wrote."""
        values = array.array("d", path.read_bytes())
        count = len(values) // 3
        return cls(values[:count], values[count : 2 * count], values[2 * count :])

    def failures(self) -> list[tuple[float, int]]:
        """When each request that was not answered 200 was due, and its status."""
        pairs = zip(self.dues, self.codes, strict=True)
        return [(due, int(code)) for due, code in pairs if code != 200]

    def worst(self, begin: float, end: float) -> float:
        """The longest latency of requests due within; 0.0 when there were none."""
        pairs = zip(self.dues, self.latencies, strict=True)
        return max((latency for due, latency in pairs if begin <= due < end), default=0.0)
