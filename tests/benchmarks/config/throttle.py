"""Gives a process a share of one CPU, enforced by the kernel: cgroup v2 `cpu.max`, or v1 `cpu.cfs_quota_us`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PERIOD = 20_000
"""Microseconds within which the share is used up. Short, so that the machine is slow and does not stop at times."""

_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


@contextlib.contextmanager
def throttled(pid: int, share: float) -> Iterator[bool]:
    """Within the block the process and its threads get this share of one CPU; False where that cannot be had."""
    group = _group(share)
    if group is None:
        yield False
        return
    home = _home(pid, group.parent)
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield True
    finally:
        with contextlib.suppress(OSError):
            (home / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _group(share: float) -> Path | None:
    quota = int(share * PERIOD)
    for root, settings in (
        (_V2, {"cpu.max": f"{quota} {PERIOD}"}),
        (_V1, {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota)}),
    ):
        group = root / f"headgate-bench-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            # Where the controller is not there, neither are its files, and no others can be made.
            if all((group / name).exists() for name in settings):
                for name, value in settings.items():
                    (group / name).write_text(value)
                return group
            group.rmdir()
    return None


def _home(pid: int, root: Path) -> Path:
    """Where the process is now."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in (("cpu", "cpu,cpuacct") if root == _V1 else ("",)):
            return root / path.lstrip("/")
    return root
