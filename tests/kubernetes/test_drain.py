"""A node is drained under load: pods are evicted as their PodDisruptionBudgets allow, and start on other nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubernetes.load import Load
from tests.support.kubernetes.release import CONTROL_PLANE, DATA_PLANE, Release

pytestmark = pytest.mark.timeout(900)

DEPLOYMENTS = (DATA_PLANE, CONTROL_PLANE, "echo")


@pytest.fixture
def node(release: Release) -> Iterator[str]:
    """A node with pods of the release, without etcd and the load: these have no second pod."""
    (etcd,) = release.kubectl.list("pods", "app=etcd")
    found = {
        pod["spec"]["nodeName"] for pod in release.kubectl.list("pods", f"run={release.kubectl.namespace}")
    }
    others = sorted(found - {etcd["spec"]["nodeName"]})
    if not others:
        pytest.skip("the cluster has one node")
    yield others[0]
    release.kubectl.run("uncordon", others[0])


def test_drain_of_a_node(release: Release, load: Load, node: str) -> None:
    selector = f"run={release.kubectl.namespace}"
    before = [pod for pod in release.kubectl.list("pods", selector) if pod["spec"]["nodeName"] == node]
    assert {"dataplane", "controlplane"} <= {component(pod) for pod in before}
    release.kubectl.run(
        *("drain", node, f"--pod-selector={selector}", "--ignore-daemonsets", "--delete-emptydir-data"),
        timeout=300,
    )
    for deployment in DEPLOYMENTS:
        release.kubectl.rolled_out(f"deployment/{deployment}")
    after = release.kubectl.list("pods", selector)
    assert not [pod["metadata"]["name"] for pod in after if pod["spec"]["nodeName"] == node]
    load.more()


def component(pod: dict[str, object]) -> str:
    metadata = pod["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["labels"].get("app.kubernetes.io/component", "service"))
