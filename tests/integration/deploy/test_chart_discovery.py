"""What the chart allows control planes to do for discovery: to list and watch EndpointSlices, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.chart import NEEDED, Objects, manifests, pod, problems, render

MAY = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]


def discovering(**kubernetes: Any) -> dict[str, Any]:
    return {**NEEDED, "controlplane": {"discovery": {"kubernetes": {"enabled": True, **kubernetes}}}}


def bound(objects: Objects, kind: str) -> dict[str, Any]:
    """The one binding."""
    (found,) = (one for key, one in objects.items() if key.startswith(f"{kind}/"))
    return found


def test_none_by_default() -> None:
    objects = render(NEEDED)
    assert not [key for key in objects if "Role" in key]
    assert pod(objects, "controlplane")["automountServiceAccountToken"] is False


def test_all_namespaces() -> None:
    objects = render(discovering())
    role, binding = bound(objects, "ClusterRole"), bound(objects, "ClusterRoleBinding")
    assert role["rules"] == MAY
    assert not list(problems(objects))
    assert role["metadata"]["name"] == binding["roleRef"]["name"] == "prod-demo-headgate-discovery"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "demo-headgate-controlplane", "namespace": "prod"}
    ]
    assert pod(objects, "controlplane")["automountServiceAccountToken"] is True
    assert pod(objects, "dataplane")["automountServiceAccountToken"] is False


def test_a_role_in_each_namespace() -> None:
    text = manifests(discovering(namespaces=["shop", "web"]))[
        "headgate/templates/controlplane/discovery.yaml"
    ]
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = {f"{one['kind']} {one['metadata']['namespace']}": one for one in documents}
    assert set(found) == {"Role shop", "RoleBinding shop", "Role web", "RoleBinding web"}
    assert found["Role shop"]["rules"] == MAY
    # A release of the same name in another namespace may discover the same services.
    assert {one["metadata"]["name"] for one in documents} == {"prod-demo-headgate-discovery"}
    assert not list(problems(found))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_network_policy_lets_control_planes_reach_the_api_server(enabled: bool) -> None:
    values = discovering(enabled=enabled) | {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}
    egress = render(values)["NetworkPolicy/demo-headgate-controlplane"]["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule["ports"]}
    assert (6443 in ports) is enabled
