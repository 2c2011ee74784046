"""The chart's NetworkPolicies, and its monitors for the Prometheus operator."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.integration.deploy.test_chart_valid import MATRIX, PEERS
from tests.support.chart import NEEDED, Objects, container, render
from tests.support.pages import ROOT


def peers(objects: Objects, plane: str) -> dict[int, list[Any]]:
    """By port, whom a policy lets in; an empty list: everyone."""
    rules = objects[f"NetworkPolicy/demo-headgate-{plane}"]["spec"]["ingress"]
    return {port["port"]: rule.get("from", []) for rule in rules for port in rule["ports"]}


def test_policies_let_in_no_more_than_they_name() -> None:
    assert not [key for key in render(NEEDED) if key.startswith("NetworkPolicy")]
    closed = render({**NEEDED, "networkPolicy": {"enabled": True}})
    assert peers(closed, "dataplane") == {8000: [], 8443: []}
    own = {
        "podSelector": {
            "matchLabels": {"app.kubernetes.io/instance": "demo", "app.kubernetes.io/name": "headgate"}
        }
    }
    assert peers(closed, "controlplane") == {50051: [{"namespaceSelector": {}}, own], 8080: [own]}
    named = render({**NEEDED, **MATRIX["policies and monitors"]})
    assert peers(named, "dataplane") == {8000: [*PEERS, own], 8443: [*PEERS, own], 8001: PEERS}
    assert peers(named, "controlplane") == {50051: [*PEERS, own], 8080: [*PEERS, *PEERS, own]}


def test_control_planes_may_be_restricted_to_etcd_and_each_other() -> None:
    endpoints = ["http://a:2381", "http://b:2380", "http://[fd00::1]:2379"]
    policy = {"enabled": True, "egress": {"enabled": True}}
    objects = render({**NEEDED, "networkPolicy": policy, "etcd": {"endpoints": endpoints}})
    rules = objects["NetworkPolicy/demo-headgate-controlplane"]["spec"]["egress"]
    assert [sorted({port["port"] for port in rule["ports"]}) for rule in rules] == [
        [53, 5353],
        [2379, 2380, 2381],
        [50051],
    ]


def test_rules_of_prometheus_are_those_of_the_repository_and_ones_own() -> None:
    own = {"name": "own", "rules": [{"record": "own:one", "expr": "vector(1)"}]}
    rule = {"enabled": True, "labels": {"release": "prometheus"}, "groups": [own]}
    objects = render({**NEEDED, "monitoring": {"prometheusRule": rule}})
    found = objects["PrometheusRule/demo-headgate"]
    assert found["metadata"]["labels"]["release"] == "prometheus"
    shipped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())["groups"]
    assert found["spec"]["groups"] == [*shipped, own]


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_monitors_find_ports_that_exist(kind: str) -> None:
    monitor = {kind[0].lower() + kind[1:]: {"enabled": True, "labels": {"release": "prometheus"}}}
    tls = {"adminTls": {"secret": "admin-tls"}}
    objects = render({**NEEDED, "monitoring": monitor, "controlplane": tls})
    for plane, port in (("controlplane", "admin"), ("dataplane", "status")):
        found = objects[f"{kind}/demo-headgate-{plane}"]
        assert found["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = found["spec"]["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]
        assert endpoint["port"] == port
        assert port in {each["name"] for each in container(objects, plane)["ports"]}
        assert (
            "annotations" not in objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["metadata"]
        )
    metrics = objects.get("Service/demo-headgate-dataplane-metrics", {"spec": {}})["spec"].get("ports", [])
    assert [port["name"] for port in metrics] == (["status"] if kind == "ServiceMonitor" else [])
    controlplane = objects[f"{kind}/demo-headgate-controlplane"]["spec"]
    (scrape,) = controlplane.get("podMetricsEndpoints") or controlplane["endpoints"]
    assert scrape["scheme"] == "https"
    assert scrape["tlsConfig"]["ca"]["secret"] == {"name": "admin-tls", "key": "ca.crt"}
    assert scrape["tlsConfig"]["serverName"] == "demo-headgate-controlplane.prod.svc"
