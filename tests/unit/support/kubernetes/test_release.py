"""Values of a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.manifests import Manifests
from tests.support.kubernetes.release import CHART, CONTROL_PLANE, DATA_PLANE, NAME, Release, merged


def test_maps_are_merged_and_the_rest_is_replaced() -> None:
    values = {"dataplane": {"replicas": 2, "env": {"A": "1"}}, "etcd": ["a"]}
    changes = {"dataplane": {"env": {"B": "2"}}, "etcd": ["b"]}
    assert merged(values, changes) == {
        "dataplane": {"replicas": 2, "env": {"A": "1", "B": "2"}},
        "etcd": ["b"],
    }


def test_the_chart_takes_the_values() -> None:
    helm_python = pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")
    release = Release(Kubectl(Path("unused")), Images("registry.example.org/", "1", "etcd:1"))
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(release._values())
        texts = chart.render(release._values(), name=NAME, namespace="shop").values()
    # With or without quotes.
    rendered = "".join(texts).replace('"', "")
    assert "registry.example.org/headgate-dataplane:1" in rendered
    assert f"name: {DATA_PLANE}\n" in rendered
    assert f"name: {CONTROL_PLANE}\n" in rendered


def test_what_must_go_on_during_a_drain_is_beside_etcd() -> None:
    manifests = Manifests("headgate-sdk:1", "shop", CONTROL_PLANE)
    for pod in (manifests.client(), manifests.load("load", DATA_PLANE, "80")):
        (term,) = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"] == {"matchLabels": {"app": "etcd"}}


def test_a_pod_that_kills_is_on_the_node_of_its_containers() -> None:
    pod = Manifests("headgate-sdk:1", "shop", CONTROL_PLANE).kill("node2", ["c0ffee"])
    assert pod["spec"]["nodeName"] == "node2"
    assert pod["spec"]["hostPID"]
    assert pod["spec"]["containers"][0]["command"][-1] == "c0ffee"
