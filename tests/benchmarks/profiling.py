"""Where the time of a request goes: `python -m tests.benchmarks.profiling` while nothing else runs.

Loads one worker with the whole policy and looks at it in three ways, each with a tool that need not be there:
perf (samples of the CPU by library, the kernel included) and strace (system calls per request) at the compiled request
path, py-spy --native (samples by the Python module that is being executed or has called; on PATH or in PYSPY) at the
uncompiled one, because it sees no lines of ours in what is compiled.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.benchmarks import bed
from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender, find
from tests.benchmarks.load import CONNECTIONS, SCRIPT, closed, pinned
from tests.benchmarks.machine import go_first, tree
from tests.benchmarks.progress import say

SECONDS = 10
Tool = Callable[[Bed, int, float], Iterable[str]]
"""Looks at the worker with that process id, a request of which costs so many microseconds."""
FRAME = re.compile(r"(?P<function>.+) \((?P<place>[^()]*)\)$")
SYSTEM_CALLS = frozenset(
    {"write", "read", "writev", "send", "recv", "sendmsg", "recvmsg", "epoll_pwait", "epoll_wait"}
)
"""Functions of the C library that do little but enter the kernel."""
LIBRARIES = {
    "httptools": {"parser.c", "llhttp.c", "api.c", "http.c"},
    "uvloop": {"loop.c", "core.c", "linux.c", "stream.c", "timer.c", "loop-watcher.c"},
}
"""Source files by which py-spy tells what native code belongs to."""


def main() -> int:
    """Profile and print."""
    go_first()
    with bed.made() as made:
        shipped = made.gateway.policy_on
        look(made, shipped, by_library, system_calls)
        look(made, made.uncompiled or shipped, by_module)
    return 0


def look(made: Bed, asked: Contender, *tools: Tool) -> None:
    """Load one contender for each tool, and print what they see."""
    worker = next(each.pid for each in tree(asked.process.pid) if "dataplane.worker" in each.cmdline())
    closed(asked, made.tokens, 2.0)
    sample = closed(asked, made.tokens, 4.0)
    cost, rate = sample.cpu_us_per_request, sample.requests_per_second
    say(f"{asked.name}: {cost:.1f} µs CPU a request, {rate:,.0f} requests/s")
    for tool in tools:
        with loaded(asked, made.tokens):
            for line in tool(made, worker, cost):
                say(line)


@contextlib.contextmanager
def loaded(asked: Contender, tokens: Path) -> Iterator[None]:
    """wrk runs in the background."""
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS * 3}s", "-s", str(SCRIPT), asked.url]
    environment = {**os.environ, "TOKENS": str(tokens), "TARGET": asked.path}
    with subprocess.Popen(pinned(argv), env=environment, stdout=subprocess.DEVNULL) as wrk:
        try:
            yield
        finally:
            wrk.terminate()


def by_library(made: Bed, worker: int, cost: float) -> Iterable[str]:
    """perf: works where there are no hardware counters too, on the CPU clock."""
    if find("perf") is None:
        return ["perf is not installed (Debian: linux-perf)"]
    data = str(made.folder / "perf.data")
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-p", str(worker), "-o", data]
    run = subprocess.run([*record, "--", "sleep", str(SECONDS)], capture_output=True, text=True, check=False)
    report = ["perf", "report", "-i", data, "--sort", "dso", "--stdio", "-q"]
    printed = subprocess.run(report, capture_output=True, text=True, check=False)
    rows = re.findall(r"^\s+([\d.]+)%\s+(\S+)", printed.stdout, re.MULTILINE)
    if not rows:
        return [f"perf found nothing: {run.stderr.strip() or printed.stderr.strip()}"]
    return ["", "by library (perf)", *(row(name, float(share) / 100, cost) for share, name in rows)]


def by_module(made: Bed, worker: int, cost: float) -> Iterable[str]:
    """py-spy: whose Python was running, or had called what was running."""
    binary = os.environ.get("PYSPY") or find("py-spy")
    if binary is None:
        return ["py-spy is not installed (pip install py-spy, in a virtual environment of its own)"]
    path = made.folder / "stacks"
    argv = [binary, "record", "--native", "-p", str(worker), "-d", str(SECONDS), "-r", "250"]
    run = subprocess.run([*argv, "-f", "raw", "-o", str(path)], capture_output=True, text=True, check=False)
    if run.returncode:
        return [f"py-spy failed: {run.stderr.strip()}"]
    lines = path.read_text().splitlines()
    shares = [
        ("by piece (py-spy --native)", pieces(lines)),
        ("by function, its calls of libraries included", functions(lines)),
    ]
    found: list[str] = []
    for title, counts in shares:
        total = sum(counts.values())
        found += ["", title, *(row(name, n / total, cost) for name, n in counts.most_common(30))]
    return found


def pieces(lines: Iterable[str]) -> Counter[str]:
    """Samples by what the innermost frame belongs to."""
    found: Counter[str] = Counter()
    for frames, count in stacks(lines):
        found[_piece(frames)] += count
    return found


def functions(lines: Iterable[str]) -> Counter[str]:
    """Samples by the innermost function of ours that is on the stack."""
    found: Counter[str] = Counter()
    for frames, count in stacks(lines):
        ours = [frame for frame in frames if "dataplane/" in frame[1]]
        if ours:
            function, place = ours[-1]
            found[f"{place.rpartition('dataplane/')[2].partition(':')[0]} {function}"] += count
    return found


def stacks(lines: Iterable[str]) -> Iterator[tuple[list[tuple[str, str]], int]]:
    """Each stack as (function, file or library) from the outermost frame inwards, and how often it was seen."""
    for line in lines:
        stack, _, count = line.rpartition(" ")
        matches = (FRAME.match(frame) for frame in stack.split(";"))
        frames = [(match["function"], match["place"]) for match in matches if match]
        if not _idle(frames):
            yield frames, int(count)


def _idle(frames: list[tuple[str, str]]) -> bool:
    """Whether it is the access log's thread that waits for lines."""
    ours = [function for function, place in frames if "dataplane/" in place]
    return ours[-1:] == ["AccessLog._run"] and "dataplane/" not in frames[-1][1]


def _piece(frames: list[tuple[str, str]]) -> str:
    """What the innermost frame belongs to; what libc and the interpreter do is done for who called them."""
    if frames and frames[-1][0] in SYSTEM_CALLS:
        return "system calls"
    for _, place in reversed(frames):
        if "dataplane/" in place:
            return f"dataplane/{place.rpartition('dataplane/')[2].partition(':')[0]}"
        file = place.partition(":")[0]
        for library, files in LIBRARIES.items():
            if file in files:
                return library
    return "other"


def system_calls(made: Bed, worker: int, cost: float) -> Iterable[str]:
    """strace: how many of each, over those that each request needs twice."""
    if find("strace") is None:
        return ["strace is not installed"]
    path = made.folder / "strace"
    argv = ["timeout", "-s", "INT", "3", "strace", "-c", "-f", "-o", str(path), "-p", str(worker)]
    subprocess.run(argv, capture_output=True, check=False)
    counted = re.findall(
        r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", path.read_text(), re.MULTILINE
    )
    calls = {name: int(count) for count, name in counted if name != "total"}
    requests = max(calls.values(), default=0) / 2
    if not requests:
        return ["strace saw nothing"]
    return ["", "system calls a request (strace)", *(f"{n:22}{c / requests:>8.2f}" for n, c in calls.items())]


def row(name: str, share: float, cost: float) -> str:
    """A share, and what it is of a request's CPU time."""
    return f"{name:60}{share:>7.1%}{share * cost:>8.1f} µs"


if __name__ == "__main__":
    sys.exit(main())
