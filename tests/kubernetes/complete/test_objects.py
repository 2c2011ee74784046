"""PodDisruptionBudgets and NetworkPolicies of the release, as the API server has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kubernetes.complete.conftest import ETCD, Complete
from tests.support.kubernetes.kubectl import KubectlError
from tests.support.kubernetes.release import NAME
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(600)

PODS = {"controlplane": 2, "dataplane": 2, "etcd": 3}


@pytest.mark.parametrize(("component", "count"), PODS.items())
def test_a_budget_lets_one_pod_go(complete: Complete, component: str, count: int) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = complete.kubectl.get("pdb", f"{NAME}-headgate-{component}")["status"]
        return found

    eventually_now(lambda: status()["currentHealthy"] == count, every=0.5)
    assert (status()["expectedPods"], status()["disruptionsAllowed"]) == (count, 1)


def test_no_second_member_is_evicted(complete: Complete) -> None:
    evict(complete, f"{ETCD}-0")
    try:
        with pytest.raises(KubectlError, match="disruption budget"):
            evict(complete, f"{ETCD}-1")
    finally:
        complete.rolled_out()


def evict(complete: Complete, pod: str) -> None:
    """As `kubectl drain` does."""
    namespace = complete.kubectl.namespace
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    complete.kubectl.run("create", "--raw", path, "-f", "-", given=json.dumps(body))


@pytest.mark.parametrize("component", PODS)
def test_a_policy_is_for_the_pods_of_its_component(complete: Complete, component: str) -> None:
    """Whether it is enforced depends on the cluster's network; the bridge of the tests' own cluster does not."""
    spec = complete.kubectl.get("networkpolicy", f"{NAME}-headgate-{component}")["spec"]
    assert selected(complete, spec["podSelector"]) == set(complete.pods(component))
    own = {pod for each in PODS for pod in complete.pods(each)}
    peers = [
        peer["podSelector"]
        for rule in spec["ingress"]
        for peer in rule.get("from", [])
        if "podSelector" in peer
    ]
    admitted = set().union(*(selected(complete, peer) for peer in peers))
    if component == "etcd":
        assert admitted == {*complete.pods("controlplane"), *complete.pods("etcd")}
    elif component == "controlplane":
        assert own <= admitted
        assert complete.administrator.name not in admitted


def selected(complete: Complete, selector: dict[str, Any]) -> set[str]:
    """Pods of the namespace that a selector matches and that have not ended."""
    labels = ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())
    found = complete.kubectl.list("pods", labels)
    return {pod["metadata"]["name"] for pod in found if pod["status"]["phase"] not in ("Succeeded", "Failed")}
