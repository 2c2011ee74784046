"""Starts the cluster within the namespaces that `isolation` made."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubernetes import credentials, dns, network
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.credentials import NODE_NAME
from tests.support.kubernetes.images import import_archive
from tests.support.kubernetes.kubectl import Kubectl, KubectlError
from tests.support.kubernetes.node import Node
from tests.support.kubernetes.steps import Steps
from tests.support.waiting import eventually_now

EMPTY = ("/run", "/var/lib")
"""Folders of the machine that the node's programs use by fixed names, so it gets empty ones."""
KEPT = {"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "pod-logs": "/var/log"}
"""Their large parts, by folder of the run: on the disk instead of in memory."""

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


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster whose files are in `folder`."""

    tools: Mapping[str, Path]
    folder: Path
    cgroup: str
    """The group of all pods."""
    steps: Steps

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    def start(self, archives: list[Path]) -> Kubectl:
        """Start everything, and import the images of these archives; returns the administrator's kubectl."""
        with self.steps.step("namespaces, network and certificates"):
            mount(self.folder)
            network.set_up()
            made = credentials.make(self.folder / "pki")
        kubectl = Kubectl(made.kubeconfigs["admin"])
        with self.steps.step("start the control plane"):
            ControlPlane(self.tools, made, self.logs, self.folder / "pki").start()
        node = Node(self.tools, made, self.folder / "node", self.logs, self.cgroup)
        with self.steps.step("start containerd and import images"):
            node.start_containerd()
            for archive in archives:
                import_archive(self.tools["ctr"], archive)
        with self.steps.step("start the node"):
            dns.start(kubectl.kubeconfig, self.logs)
            node.start_kubelet()
            node.start_kube_proxy()
            wait_for_node(kubectl)
        return kubectl


def mount(folder: Path) -> None:
    """Give this mount namespace folders of its own. Pods get mounts from it, hence the propagation."""
    commands = [["mount", "--make-rshared", "/"]]
    commands += [["mount", "-t", "tmpfs", "tmpfs", path] for path in EMPTY]
    for name, path in KEPT.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        commands += [["mkdir", "-p", path], ["mount", "--bind", str(folder / name), path]]
    for name, value in SHIELDED.items():
        shield = folder / "sysctl" / name
        shield.parent.mkdir(parents=True, exist_ok=True)
        shield.write_text(f"{value}\n")
        commands.append(["mount", "--bind", str(shield), f"/proc/sys/{name}"])
    for command in commands:
        subprocess.run(command, check=True)


def wait_for_node(kubectl: Kubectl) -> None:
    """Until the node is ready, and the controllers have made what every pod needs."""

    def known() -> bool:
        try:
            kubectl.get("node", NODE_NAME)
            kubectl.get("serviceaccount", "default")
        except KubectlError:
            return False
        return True

    eventually_now(known, within=120, every=0.5)
    kubectl.wait(f"node/{NODE_NAME}", "condition=Ready")
