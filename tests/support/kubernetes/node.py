"""A node: containerd with runc, kubelet and kube-proxy, and the files that configure them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.processes import start, wait_or_kill
from tests.support.kubernetes.isolation import PLUGINS
from tests.support.kubernetes.network import BRIDGE, NODE, PODS, NodeNetwork

SOCKET = Path("/run/containerd/containerd.sock")
KUBELET_ROOT = Path("/var/lib/kubelet")
CONTAINERD_ROOT = Path("/var/lib/containerd")
PAUSE_IMAGE = "headgate.test/pause:1"


def containerd_config(networks: Path, plugins: Path) -> str:
    """TOML for containerd 2."""
    return f"""version = 3
root = "{CONTAINERD_ROOT}"
state = "/run/containerd"

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  # Root may lack CAP_SYS_RESOURCE, as in some containers and virtual machines: then runc cannot lower the score.
  restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{plugins}"]
  conf_dir = "{networks}"
"""


def network_config(network: NodeNetwork, leases: Path) -> dict[str, Any]:
    """A bridge that connects the node's pods. `leases` has the addresses that are in use."""
    addresses = {
        "type": "host-local",
        "dataDir": str(leases),
        "ranges": [
            [{"subnet": network.pods, "rangeStart": network.first_pod, "gateway": network.gateway}],
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def kubelet_config(cgroup: str) -> dict[str, Any]:
    """A kubelet that works without systemd, without swap control, and with either version of control groups."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": ["none"],
        "localStorageCapacityIsolation": False,
        "maxOpenFiles": 20_000,
        # Only this network namespace reaches it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [NODE],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "volumePluginDir": str(KUBELET_ROOT / "volume-plugins"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def kube_proxy_config(network: NodeNetwork, kubeconfig: Path) -> dict[str, Any]:
    """nftables, in this network namespace; the machine's limits of connection tracking stay."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": network.name,
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


@dataclass(frozen=True, slots=True)
class Node:
    """The processes of a node; `folder` has their configuration, and `logs` their logs.

    `kubeconfigs` are by program: kube-proxy, and the node's name for kubelet.
    """

    network: NodeNetwork
    tools: Mapping[str, Path]
    kubeconfigs: Mapping[str, Path]
    folder: Path
    logs: Path
    cgroup: str
    """The group of the node's pods."""

    def start_containerd(self) -> None:
        """Returns when containerd accepts connections: images can be imported."""
        networks = self.folder / "networks"
        networks.mkdir(parents=True)
        _write_json(networks / "10-pods.conflist", network_config(self.network, self.folder / "leases"))
        plugins = next(folder for folder in PLUGINS if (folder / "bridge").exists())
        config = self.folder / "containerd.toml"
        config.write_text(containerd_config(networks, plugins))
        programs = self.tools["containerd"].parent
        # It starts its shim from the PATH.
        path = {"PATH": f"{programs}:{os.environ['PATH']}"}
        argv = [str(self.tools["containerd"]), "--config", str(config)]
        wait_or_kill(SOCKET.exists, start("containerd", argv, path, self.logs))

    def start_kubelet(self) -> None:
        """Returns at once; the node is ready a few seconds later."""
        config = _write_json(self.folder / "kubelet.json", kubelet_config(self.cgroup))
        flags = [
            f"--config={config}",
            f"--kubeconfig={self.kubeconfigs[self.network.name]}",
            f"--hostname-override={self.network.name}",
            f"--node-ip={self.network.address}",
            f"--root-dir={KUBELET_ROOT}",
        ]
        start("kubelet", [str(self.tools["kubelet"]), *flags], {}, self.logs)

    def start_kube_proxy(self) -> None:
        """Returns at once."""
        config = _write_json(
            self.folder / "kube-proxy.json",
            kube_proxy_config(self.network, self.kubeconfigs["kube-proxy"]),
        )
        start("kube-proxy", [str(self.tools["kube-proxy"]), f"--config={config}"], {}, self.logs)


def _write_json(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document, indent=2))
    return path
