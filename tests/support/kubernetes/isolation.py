"""Namespaces for a cluster: its mounts, bridges, packet filters and processes are not those of the machine.

They end with the first process of the PID namespace, however that ends. Only control groups remain, because processes
of the node make them in the machine's hierarchy; `remove_cgroups` removes them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.support.kubernetes.network import NODES

CGROUPS = Path("/sys/fs/cgroup")
NEEDED = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "kubectl": "kubernetes-client",
}
"""Programs of the system, and the Debian packages that have them."""
PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
"""Folders that may have the network plugins (Debian: containernetworking-plugins)."""


def missing() -> list[str]:
    """What this machine lacks; empty if a cluster can run here."""
    lacks = [
        f"{program} (Debian: {package})" for program, package in NEEDED.items() if not shutil.which(program)
    ]
    if not any((folder / "bridge").exists() for folder in PLUGINS):
        lacks.append("CNI plugins in /usr/lib/cni or /opt/cni/bin (Debian: containernetworking-plugins)")
    if sys.platform != "linux":
        return ["Linux"]
    if os.geteuid() != 0:
        lacks.append("root privileges")
    return lacks


def command(inside: Sequence[str]) -> list[str]:
    """The command line that runs `inside` in new namespaces, as a child of their first process."""
    return [
        # Whatever ends this process ends the cluster.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *(sys.executable, "-m", "tests.support.kubernetes.init", *inside),
    ]


def cgroup_of_this_run() -> str:
    """The group of all pods, in every hierarchy. Kubelet ends the processes of pods in it that it does not know, so two
    clusters must not share one.
    """
    return f"headgate-k8s-{os.getpid()}"


def run(inside: Sequence[str], environment: Mapping[str, str], group: str) -> int:
    """Run a command in new namespaces; return its exit code when nothing of it is left."""
    make_cgroups(cgroup_hierarchies(), group)
    try:
        process = subprocess.Popen(command(inside), env=dict(environment))
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # The terminal sent it to the command, too, which cleans up.
                continue
    finally:
        remove_cgroups(cgroup_hierarchies(), group)


def cgroup_hierarchies(root: Path = CGROUPS) -> list[Path]:
    """The hierarchies in which pods get groups: with version 1 one for each controller, with version 2 the only one."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.is_symlink()]


def make_cgroups(hierarchies: Iterable[Path], group: str) -> None:
    """Make the group of all pods, and one for each node, which its kubelet expects."""
    for hierarchy in hierarchies:
        _make_cgroup(hierarchy / group)
        for node in NODES:
            _make_cgroup(hierarchy / group / node.name)


def _make_cgroup(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in (
        "cpuset.cpus",
        "cpuset.mems",
    ):  # Version 1: empty in a new group, which then takes no process.
        if (folder / name).exists():
            (folder / name).write_text((folder.parent / name).read_text())


def remove_cgroups(hierarchies: Iterable[Path], group: str, patience: float = 10.0) -> None:
    """Remove the group of all pods with those below it, as soon as the killed processes have left them."""
    deadline = time.monotonic() + patience
    for hierarchy in hierarchies:
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            _remove(Path(folder), deadline)


def _remove(folder: Path, deadline: float) -> None:
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
