"""make kubernetes: run tests/kubernetes, or a command, in a cluster of its own or in that of KUBECONFIG."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from demo.processes import ROOT
from tests.support.kubernetes import images, isolation, older, tools
from tests.support.kubernetes.mounts import KEPT
from tests.support.kubernetes.network import NODES
from tests.support.kubernetes.steps import Steps, say

RUN = ROOT / "build" / "kubernetes"
TESTS = [sys.executable, "-m", "pytest", "-v", "tests/kubernetes"]
LARGE = (
    "images",
    "older",
    "volumes",
    "log/etcd",
    *(f"{node.name}/{part}" for node in NODES for part in KEPT),
)
"""Folders that are removed at the end; the logs of the cluster stay."""


def main(command: list[str]) -> int:
    """Return the exit code of the command, which is that of the tests if it is empty."""
    command = command or TESTS
    if os.environ.get("KUBECONFIG"):
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    if lacks := isolation.missing():
        first = "This machine cannot run a cluster of its own. Besides Go 1.26 or newer, that needs:"
        sys.exit("\n  ".join([first, *lacks]) + "\nOr set KUBECONFIG to a cluster of yours.")
    try:
        return run(command)
    except tools.ToolMissing as missing:
        sys.exit(str(missing))


def run(command: list[str]) -> int:
    """Run the command in a cluster of its own."""
    shutil.rmtree(RUN, ignore_errors=True)
    steps = Steps()
    built = tools.build(tools.cache_folder(), steps)
    try:
        images.prepare(RUN / "images", built, steps)
        older.prepare(RUN, steps)
        say(steps.table())
        group = isolation.cgroup_of_this_run()
        inside = [sys.executable, "-m", "tests.support.kubernetes.inside", group, str(RUN), *command]
        return isolation.run(inside, os.environ, group)
    finally:
        for name in LARGE:
            shutil.rmtree(RUN / name, ignore_errors=True)
        say(f"The logs are in {RUN / 'log'}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
