"""The network of the cluster: fixed addresses, because it is in a network namespace of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

BRIDGE = "cni0"
NODE = "10.244.0.1"
"""The node, the API server and the cluster's DNS: the bridge's address, which pods have as their gateway."""
PODS = "10.244.0.0/24"
FIRST_POD = "10.244.0.10"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
API_PORT = 6443
DNS_PORT = 53

COMMANDS = (
    "ip link set lo up",
    f"ip link add {BRIDGE} type bridge",
    f"ip addr add {NODE}/24 dev {BRIDGE}",
    f"ip link set {BRIDGE} up",
    # Without a route, a process on the node gets "unreachable" before kube-proxy's rules see its packet.
    f"ip route add {SERVICES} dev {BRIDGE} src {NODE}",
)
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Packets between two pods pass kube-proxy's rules, too, which must translate answers of a Service.
    "net/bridge/bridge-nf-call-iptables": "1",
}


def set_up() -> None:
    """Set up this network namespace."""
    for command in COMMANDS:
        subprocess.run(command.split(), check=True)
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)
