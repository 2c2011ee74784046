"""The run within the namespaces: starts the cluster, then one command with its kubeconfig in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from demo.processes import stop_everything
from tests.support.kubernetes import helm, older, tools
from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.images import ETCD
from tests.support.kubernetes.steps import Steps, say


def main(cgroup: str, folder: Path, command: list[str]) -> int:
    """Return the command's exit code."""
    steps = Steps()
    built = tools.build(tools.cache_folder(), steps)
    try:
        kubectl = Cluster(built, folder, cgroup, steps).start(sorted((folder / "images").glob("*.tar")))
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubectl.kubeconfig),
            "ETCD_IMAGE": ETCD,
            "OLDER_TAG": older.TAG,
        }
        environment["PATH"] = helm.path_of_commands(folder / "bin")
        with steps.step(" ".join(command)):
            return subprocess.run(command, env=environment, check=False).returncode
    finally:
        say(steps.table())
        stop_everything()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
