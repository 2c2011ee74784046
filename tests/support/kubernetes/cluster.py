"""Starts the cluster within the namespaces that `isolation` made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubernetes import credentials, dns, network, second, storage
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.images import import_archive
from tests.support.kubernetes.kubectl import Kubectl, KubectlError
from tests.support.kubernetes.mounts import mount, shield
from tests.support.kubernetes.node import Node
from tests.support.kubernetes.steps import Steps
from tests.support.waiting import eventually_now


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
            shield(self.folder / "sysctl")
            mount(self.folder / network.FIRST.name)
            network.set_up_first()
            made = credentials.make(self.folder / "pki")
        kubectl = Kubectl(made.kubeconfigs["admin"])
        with self.steps.step("start the control plane"):
            ControlPlane(self.tools, made, self.logs, self.folder / "pki").start()
        folder = self.folder / network.FIRST.name
        node = Node(
            network.FIRST,
            self.tools,
            made.kubeconfigs,
            folder,
            self.logs,
            f"{self.cgroup}/{network.FIRST.name}",
        )
        with self.steps.step("start containerd and import images"):
            second.start(self.folder, self.cgroup, archives)
            node.start_containerd()
            for archive in archives:
                import_archive(self.tools["ctr"], archive)
        with self.steps.step("start the nodes"):
            dns.start(kubectl.kubeconfig, self.logs)
            kubectl.apply(storage.storage_class())
            storage.start(kubectl.kubeconfig, self.folder / "volumes", self.logs)
            node.start_kubelet()
            node.start_kube_proxy()
            wait_for_nodes(kubectl)
        return kubectl


def wait_for_nodes(kubectl: Kubectl) -> None:
    """Until all nodes are ready, and the controllers have made what every pod needs."""
    nodes = [f"node/{node.name}" for node in network.NODES]

    def known() -> bool:
        try:
            kubectl.run("get", *nodes)
            kubectl.get("serviceaccount", "default")
        except KubectlError:
            return False
        return True

    eventually_now(known, within=120, every=0.5)
    for node in nodes:
        kubectl.wait(node, "condition=Ready")
