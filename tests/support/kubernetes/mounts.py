"""Folders and kernel settings of a node's mount namespace, which is not the machine's."""

from __future__ import annotations

import subprocess
from pathlib import Path

EMPTY = ("/run", "/var/lib")
"""Folders of the machine that the node's programs use by fixed names, so it gets empty ones."""
KEPT = {"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "pod-logs": "/var/log"}
"""Their large parts, by folder of the node: on the disk instead of in memory."""

SHIELDED = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Settings of the machine's kernel that kubelet insists on. It finds them in files mounted over the real ones, which
stay as they are: most are not of a namespace."""


def mount(folder: Path) -> None:
    """Give this mount namespace folders of its own. Pods get mounts from it, hence the propagation."""
    commands = [["mount", "--make-rshared", "/"]]
    commands += [["mount", "-t", "tmpfs", "tmpfs", path] for path in EMPTY]
    for name, path in KEPT.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        commands += [["mkdir", "-p", path], ["mount", "--bind", str(folder / name), path]]
    for command in commands:
        subprocess.run(command, check=True)


def shield(folder: Path) -> None:
    """Mount files with the values that kubelet wants, made in `folder`, over the settings of the kernel."""
    for name, value in SHIELDED.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        subprocess.run(["mount", "--bind", str(file), f"/proc/sys/{name}"], check=True)
