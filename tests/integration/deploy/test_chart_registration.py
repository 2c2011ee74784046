"""What the chart does for registration by service-account tokens: settings, and GET of the cluster's keys alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import NEEDED, Objects, environment, pod, problems, render

RULES = [{"nonResourceURLs": ["/openid/v1/jwks"], "verbs": ["get"]}]


def registering(**kubernetes: Any) -> dict[str, Any]:
    return {**NEEDED, "controlplane": {"registration": {"kubernetes": {"enabled": True, **kubernetes}}}}


def roles(objects: Objects) -> dict[str, Any]:
    """All objects of RBAC."""
    return {key: one for key, one in objects.items() if "Role" in key}


def settings(objects: Objects) -> dict[str, Any]:
    found = environment(objects, "controlplane")
    return {name: value for name, value in found.items() if name.startswith("SERVICE_ACCOUNT")}


def test_none_by_default() -> None:
    objects = render(NEEDED)
    assert not roles(objects) and not settings(objects)


def test_the_role_and_the_settings() -> None:
    objects = render(registering())
    name = "prod-demo-headgate-registration"
    assert set(roles(objects)) == {f"ClusterRole/{name}", f"ClusterRoleBinding/{name}"}
    role, binding = roles(objects).values()
    assert role["rules"] == RULES
    assert binding["roleRef"]["name"] == name
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "demo-headgate-controlplane", "namespace": "prod"}
    ]
    assert pod(objects, "controlplane")["automountServiceAccountToken"] is True
    assert pod(objects, "dataplane")["automountServiceAccountToken"] is False
    assert {name: one["value"] for name, one in settings(objects).items()} == {
        "SERVICE_ACCOUNT_TOKENS": "true",
        "SERVICE_ACCOUNT_AUDIENCE": "headgate",
    }
    assert not list(problems(objects))


def test_of_another_audience_and_issuers_without_a_role() -> None:
    objects = render(
        registering(audience="https://gate", issuers=["https://a", "https://b"], createRole=False)
    )
    assert not roles(objects)
    found = {name: one["value"] for name, one in settings(objects).items()}
    assert found["SERVICE_ACCOUNT_AUDIENCE"] == "https://gate"
    assert found["SERVICE_ACCOUNT_ISSUERS"] == "https://a,https://b"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_network_policy_lets_control_planes_reach_the_api_server(enabled: bool) -> None:
    values = registering(enabled=enabled) | {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}
    egress = render(values)["NetworkPolicy/demo-headgate-controlplane"]["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule["ports"]}
    assert (6443 in ports) is enabled
