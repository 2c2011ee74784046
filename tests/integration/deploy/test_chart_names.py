"""Names, labels and versions of the chart's objects: texts stay texts, and every name is one that Kubernetes takes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, NEEDED, Objects, helm, problems, render

SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""The names of Services (DNS-1035)."""
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
ISSUER = {"name": "5", "kind": "ClusterIssuer"}
NUMBERS: dict[str, Any] = {
    "existingSecret": "1",
    "image": {"pullSecrets": ["2"]},
    "certificates": {"source": "certManager"},
    "grpcTls": {"enabled": True, "services": ["3"], "issuerRef": ISSUER},
    "etcd": {
        "enabled": True,
        "tls": {"issuerRef": ISSUER},
        "storage": {"className": "6", "size": "1000"},
        "priorityClassName": "7",
    },
    "controlplane": {
        "adminTls": {"secret": "8"},
        "adminUsername": "9",
        "ingress": {"enabled": True, "className": "10", "hosts": ["11"], "path": "/a: #b"},
        "serviceAccount": {"create": False, "name": "12"},
        "rbac": {"rules": [{"apiGroups": ["a"], "resources": ["b"], "verbs": ["get"]}]},
        "discovery": {"kubernetes": {"enabled": True, "namespaces": ["13"]}},
        "registration": {"kubernetes": {"enabled": True}},
        "priorityClassName": "14",
    },
    "dataplane": {
        "tls": {"enabled": True, "secrets": ["15"]},
        "upstreamTls": {"secret": "16"},
        "limitKeySecret": "17",
        "redis": {"secret": "18", "tlsSecret": "19"},
        "rateLimit": {"mode": "redis"},
        "env": {"NO": "1", "Y": "1"},
        "serviceAccount": {"name": "dataplane"},
        "service": {"type": "LoadBalancer", "loadBalancerClass": "20"},
    },
    "monitoring": {"serviceMonitor": {"enabled": True}},
    "networkPolicy": {"enabled": True},
    "fullnameOverride": "gate",
}
"""Names that YAML reads as numbers and booleans. Kubernetes allows all of them."""


@pytest.fixture
def versioned(tmp_path: Path) -> Path:
    """A copy of the chart, whose Chart.yaml a test may change."""
    return Path(shutil.copytree(CHART, tmp_path / "headgate"))


def set_versions(chart: Path, version: str) -> None:
    text = (chart / "Chart.yaml").read_text()
    values = {**yaml.safe_load(text), "version": version, "appVersion": version}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(values))


def labels(objects: Objects) -> Iterator[str]:
    """Every value of a label in objects and pods."""
    for document in objects.values():
        yield from document["metadata"]["labels"].values()
        yield from templates(document)["metadata"]["labels"].values() if templates(document) else ()


def templates(document: dict[str, Any]) -> dict[str, Any]:
    """The pod template of an object; empty if it has none."""
    spec = document.get("spec", {})
    found: dict[str, Any] = spec.get("jobTemplate", document).get("spec", {}).get("template", {})
    return found


def named(value: object) -> Iterator[object]:
    """Every name in an object, and every value of a variable."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("name", "namespace", "secretName", "claimName", "commonName", "value", "key"):
                yield inner
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def test_names_that_look_like_numbers_stay_texts() -> None:
    objects = render(NUMBERS, name="123", namespace="2024")
    assert not list(problems(objects))
    # Custom resources have no schemas here.
    for document in objects.values():
        assert all(isinstance(each, str) for each in named(document)), document
    assert all(isinstance(each, str) for each in labels(objects))
    monitor = objects["ServiceMonitor/gate-dataplane"]["spec"]
    assert monitor["namespaceSelector"]["matchNames"] == ["2024"]


def test_objects_have_the_labels_and_annotations_of_all() -> None:
    common = {"commonLabels": {"team": "edge"}, "commonAnnotations": {"cost": "1"}}
    for values in (
        NUMBERS,
        {**NUMBERS, "etcd": {"enabled": True, "restore": {"snapshot": "a"}, "dataDir": "b"}},
    ):
        for key, document in render({**values, **common}).items():
            assert document["metadata"]["labels"]["team"] == "edge", key
            assert document["metadata"]["annotations"]["cost"] == "1", key


def test_all_objects_may_be_in_another_namespace_than_the_release() -> None:
    values = {
        **NUMBERS,
        "controlplane": {**NUMBERS["controlplane"], "discovery": {"kubernetes": {"enabled": True}}},
    }
    moved = render({**values, "namespaceOverride": "edge"}, namespace="prod")
    assert moved == render(values, namespace="edge")
    assert {document["metadata"].get("namespace") for document in moved.values()} == {"edge", None}


def test_names_of_services_have_no_dots() -> None:
    objects = render(NEEDED, name="my.gate-1.2")
    services = [key.partition("/")[2] for key in objects if key.startswith("Service/")]
    assert "my-gate-1-2-headgate-dataplane" in services
    assert all(SERVICE.fullmatch(name) for name in services)
    selector = objects["Deployment/my-gate-1-2-headgate-dataplane"]["spec"]["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/instance"] == "my.gate-1.2"


def test_a_release_whose_name_begins_with_a_digit_needs_another_name() -> None:
    with pytest.raises(helm.HelmError, match=r"begin with 1gate-headgate.*set fullnameOverride"):
        render(NEEDED, name="1gate")
    render({**NEEDED, "fullnameOverride": "gate"}, name="1gate")


@pytest.mark.parametrize("value", ["My_Gate", "gate.example.org", "-gate", "1gate"])
def test_a_name_that_no_service_can_have_is_refused(value: str) -> None:
    with pytest.raises(helm.HelmError, match="/fullnameOverride"):
        render({**NEEDED, "fullnameOverride": value})


@pytest.mark.parametrize("version", ["0.1.0+4fda46fd8c4e", "1.0.0-rc.1+" + "a" * 70])
def test_versions_with_a_digest_are_valid_labels(versioned: Path, version: str) -> None:
    set_versions(versioned, version)
    objects = render({**NEEDED, "dataplane": {"image": {"tag": "1"}}}, chart=versioned)
    assert all(LABEL.fullmatch(each) for each in labels(objects))


def test_pods_are_not_replaced_by_a_new_version_of_the_chart_alone(versioned: Path) -> None:
    image = {"image": {"tag": "1"}}
    values = {
        **NEEDED,
        "controlplane": image,
        "dataplane": image,
        "etcd": {"enabled": True, "tls": {"enabled": False}},
    }
    before = render(values, chart=versioned)
    set_versions(versioned, "9.9.9")
    after = render(values, chart=versioned)
    for key in ("Deployment/demo-headgate-dataplane", "Deployment/demo-headgate-controlplane"):
        assert after[key]["metadata"]["labels"]["helm.sh/chart"] == "headgate-9.9.9"
    # The claims of a StatefulSet cannot change at all.
    for key, document in before.items():
        assert templates(after[key]) == templates(document), key
        assert after[key].get("spec", {}).get("volumeClaimTemplates") == document.get("spec", {}).get(
            "volumeClaimTemplates"
        )


def test_a_parent_chart_may_switch_this_chart() -> None:
    assert render({**NEEDED, "enabled": True, "global": {"a": 1}}) == render(NEEDED)
