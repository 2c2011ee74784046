"""The network of the cluster: fixed addresses, because it is in network namespaces of its own.

Every node has a bridge for its pods. The second node is in a namespace of its own, and a virtual cable leads from there
to the first one: packets between pods of different nodes are routed, as between machines.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "cni0"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
API_PORT = 6443
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A node's name, its address and its pods' addresses."""

    name: str
    address: str
    pods: str
    gateway: str
    """The bridge's address."""
    first_pod: str


FIRST = NodeNetwork("node1", "10.244.0.1", "10.244.0.0/24", "10.244.0.1", "10.244.0.10")
SECOND = NodeNetwork("node2", "10.245.0.2", "10.244.1.0/24", "10.244.1.1", "10.244.1.10")
NODES = (FIRST, SECOND)
NODE = FIRST.address
"""The first node, the API server and the cluster's DNS."""
UPLINK = "10.245.0.1"
"""The first node's end of the cable."""

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Packets between two pods pass kube-proxy's rules, too, which must translate answers of a Service.
    "net/bridge/bridge-nf-call-iptables": "1",
}


def set_up_first() -> None:
    """Set up this network namespace, the first node's."""
    _bridge(FIRST)
    # Without a route, a process on the node gets "unreachable" before kube-proxy's rules see its packet.
    _run(f"ip route add {SERVICES} dev {BRIDGE} src {NODE}")


def set_up_second(first: int) -> None:
    """Set up this network namespace, the second node's. A process with the id `first` is in that of the first one."""
    _bridge(SECOND)
    _run(
        f"ip link add uplink type veth peer name {SECOND.name} netns {first}",
        f"ip addr add {SECOND.address}/30 dev uplink",
        "ip link set uplink up",
    )
    there = f"nsenter --net --target {first}"
    _run(
        f"{there} ip addr add {UPLINK}/30 dev {SECOND.name}",
        f"{there} ip link set {SECOND.name} up",
        f"{there} ip route add {SECOND.pods} via {SECOND.address}",
        f"ip route add default via {UPLINK}",
    )


def _bridge(node: NodeNetwork) -> None:
    _run(
        "ip link set lo up",
        f"ip link add {BRIDGE} type bridge",
        f"ip addr add {node.gateway}/24 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
    )
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)


def _run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)
