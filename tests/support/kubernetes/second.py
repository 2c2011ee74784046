"""The second node: the same programs in a mount and a network namespace of their own.

The process that `start` starts enters the namespaces, starts the node's programs there, and ends them when it ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.processes import start as start_process
from demo.processes import stop_everything
from tests.support.kubernetes import network, tools
from tests.support.kubernetes.images import import_archive
from tests.support.kubernetes.mounts import mount
from tests.support.kubernetes.node import Node
from tests.support.kubernetes.steps import Steps


def start(folder: Path, cgroup: str, archives: Sequence[Path]) -> None:
    """Start the node of a cluster in `folder`, with the images of these archives; returns at once."""
    inside = [sys.executable, "-m", __name__, str(folder), cgroup, *map(str, archives)]
    argv = ["unshare", "--mount", "--net", *inside]
    environment = {name: value for name, value in os.environ.items() if name == "XDG_CACHE_HOME"}
    start_process(network.SECOND.name, argv, environment, folder / "log")


def run(folder: Path, cgroup: str, archives: Sequence[Path]) -> None:
    """The node, until SIGTERM."""
    own = folder / network.SECOND.name
    mount(own)
    network.set_up_second(os.getppid())
    built = tools.build(tools.cache_folder(), Steps())
    kubeconfigs = {name: folder / "pki" / f"{name}.kubeconfig" for name in ("kube-proxy", own.name)}
    logs = folder / "log" / own.name
    node = Node(network.SECOND, built, kubeconfigs, own, logs, f"{cgroup}/{own.name}")
    node.start_containerd()
    for archive in archives:
        import_archive(built["ctr"], archive)
    node.start_kubelet()
    node.start_kube_proxy()
    signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        run(Path(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]])
    finally:
        stop_everything()
