"""The chart lints strictly, and every object that it renders is valid in four versions of Kubernetes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, KUBERNETES, NEEDED, helm, manifests, problems, render
from tests.support.reference.chart import values as documented_values

PRODUCTION = yaml.safe_load((CHART / "values-production.yaml").read_text())
POD: dict[str, Any] = {
    "labels": {"team": "edge"},
    "annotations": {"note": "1"},
    "podLabels": {"team": "edge"},
    "podAnnotations": {"note": "1"},
    "env": {"LOG_LEVEL": "debug", "EXTRA": "1"},
    "extraEnv": [{"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraContainers": [{"name": "beside", "image": "beside:1"}],
    "initContainers": [{"name": "before", "image": "before:1"}],
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "extraPodSpec": {
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a.example.org"]}],
    },
    "topologySpreadConstraints": [],
    "strategy": {"type": "Recreate"},
    "preStopSeconds": 0,
    "minReadySeconds": 5,
    "terminationGracePeriodSeconds": 120,
    "probes": {"startup": {"initialDelaySeconds": 1}, "liveness": {"successThreshold": 1}},
    "pdb": {"minAvailable": "50%", "unhealthyPodEvictionPolicy": "IfHealthyBudget"},
    "serviceAccount": {"create": False, "name": "theirs"},
    "image": {"registry": "r.example.org", "digest": "sha256:" + "0" * 64},
}
LOAD_BALANCER: dict[str, Any] = {
    "type": "LoadBalancer",
    "loadBalancerClass": "example.org/internal",
    "loadBalancerSourceRanges": ["192.0.2.0/24"],
    "externalTrafficPolicy": "Local",
    "extraSpec": {"healthCheckNodePort": 30999, "sessionAffinity": "ClientIP"},
    "annotations": {"a": "b"},
    "labels": {"a": "b"},
}
RULE = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
PEERS = [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
METRIC = {
    "type": "Pods",
    "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "50"}},
}
MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "production": PRODUCTION,
    "fixed replicas": {"dataplane": {"autoscaling": {"enabled": False}, "replicas": 3}},
    "etcd over TLS": {"etcd": {"endpoints": ["https://a:2379", "https://b:2379"], "tlsSecret": "etcd-tls"}},
    "admin API over TLS": {
        "controlplane": {
            "adminTls": {"secret": "admin-tls"},
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["admin.example.org"],
                "tls": [{"hosts": ["admin.example.org"], "secretName": "admin"}],
            },
        },
        "monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    },
    "everything of a pod": {
        "controlplane": POD,
        "dataplane": POD,
        "commonLabels": {"cost": "1"},
        "commonAnnotations": {"cost": "1"},
        "image": {"registry": "r.example.org", "pullSecrets": ["pull"]},
        "serviceAccount": {"annotations": {"iam": "role"}},
    },
    "load balancers": {
        "controlplane": {
            "service": {**LOAD_BALANCER, "nodePorts": {"grpc": 30051}},
            "rbac": {"rules": [RULE]},
        },
        "dataplane": {
            "service": {
                **LOAD_BALANCER,
                "ipFamilyPolicy": "RequireDualStack",
                "ipFamilies": ["IPv4", "IPv6"],
            },
            "tls": {"enabled": True, "secrets": ["a", "b"]},
            "upstreamTls": {"secret": "client"},
            "proxyProtocolFrom": ["192.0.2.0/24"],
        },
    },
    "node ports": {
        "dataplane": {
            "http": {"enabled": False},
            "tls": {"enabled": True, "secrets": ["a"]},
            "service": {"type": "NodePort", "nodePorts": {"https": 30443}},
        }
    },
    "IPv6": {"ipFamily": "IPv6"},
    "policies and monitors": {
        "networkPolicy": {
            "enabled": True,
            "traffic": PEERS,
            "registry": PEERS,
            "admin": PEERS,
            "monitoring": PEERS,
            "egress": {"enabled": True, "extra": [{"to": PEERS}]},
        },
        "monitoring": {"serviceMonitor": {"enabled": True, "scrapeTimeout": "5s"}},
    },
    "all metrics of the autoscaler": {
        "dataplane": {
            "autoscaling": {
                "targetMemoryUtilizationPercentage": 80,
                "targetRequestsInFlight": 40,
                "metrics": [METRIC],
            }
        }
    },
    "nothing beside the planes": {
        "controlplane": {"pdb": {"enabled": False}, "serviceAccount": {"create": False}},
        "dataplane": {"pdb": {"enabled": False}, "serviceAccount": {"create": False}},
        "scrapeAnnotations": False,
    },
}


def test_the_oldest_version_is_the_one_that_is_tested() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


def test_a_template_reads_every_value() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    passed_on = {f"{plane}.probes" for plane in ("controlplane", "dataplane")}
    unread = [
        value.name
        for value in documented_values()
        if ".".join(value.path[:-1]) not in passed_on and not re.search(rf"\.{value.path[-1]}\b", templates)
    ]
    assert unread == ["global"]


@pytest.mark.parametrize("values", [NEEDED, PRODUCTION], ids=["defaults", "production"])
def test_lints_strictly(values: dict[str, Any]) -> None:
    result = helm.lint(str(CHART), values=values, strict=True)
    assert not result["errors"]
    assert not [message for message in result["messages"] if message["severity"] > 1]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_object_is_valid(values: dict[str, Any]) -> None:
    objects = render({**NEEDED, **values})
    assert not list(problems(objects))
    for key, document in objects.items():
        assert document["metadata"]["namespace"] == "prod", key
        assert document["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo", key


def test_names_have_at_most_63_characters() -> None:
    every = {**MATRIX["policies and monitors"], **NEEDED}
    objects = render(every, name="a-release-with-a-name-as-long-as-helm-accepts-it-here")
    assert max(len(document["metadata"]["name"]) for document in objects.values()) == 63


def notes_of(values: dict[str, Any]) -> str:
    return manifests({**NEEDED, **values})["headgate/templates/NOTES.txt"]


RISKS: dict[str, tuple[dict[str, Any], str]] = {
    "a plain admin API outside": ({"controlplane": {"service": {"type": "NodePort"}}}, "adminTls.secret."),
    "a plain Ingress": (
        {"controlplane": {"ingress": {"enabled": True, "hosts": ["a.example.org"]}}},
        "adminTls.secret and controlplane.ingress.tls.",
    ),
    "plain tokens": ({"controlplane": {"service": {"type": "LoadBalancer"}}}, "set grpcTls.enabled"),
    "one control plane": ({"controlplane": {"replicas": 1}}, "controlplane.replicas"),
    "metrics behind a policy": ({"networkPolicy": {"enabled": True}}, "networkPolicy.monitoring"),
    "rules of no policy": (
        {"networkPolicy": {"admin": [{"podSelector": {}}]}},
        "values of networkPolicy have no effect",
    ),
    "a rule for no policy": ({"networkPolicy": {"egress": {"enabled": True}}}, "set networkPolicy.enabled"),
    "an Ingress behind a policy": (
        {
            "networkPolicy": {"enabled": True},
            "controlplane": {"ingress": {"enabled": True, "hosts": ["a.example.org"]}},
        },
        "networkPolicy.admin",
    ),
    "a budget of all control planes": (
        {"controlplane": {"pdb": {"minAvailable": 2}}},
        "controlplane can be drained",
    ),
    "a budget of all data planes": (
        {"dataplane": {"pdb": {"minAvailable": "100%"}}},
        "dataplane can be drained",
    ),
    "a budget of nothing": (
        {"dataplane": {"autoscaling": {"enabled": False}, "pdb": {"maxUnavailable": 0}}},
        "dataplane can be drained",
    ),
    "two ways to an address": (
        {
            "dataplane": {
                "service": {"type": "LoadBalancer"},
                "proxyProtocolFrom": ["192.0.2.0/24"],
                "trustedProxies": ["192.0.2.0/24"],
            }
        },
        "rarely both",
    ),
}


@pytest.mark.parametrize(("values", "advice"), RISKS.values(), ids=RISKS)
def test_the_notes_warn_of_risks(values: dict[str, Any], advice: str) -> None:
    assert advice in notes_of(values).partition("Before you go into production:\n")[2]


BUDGETS: list[dict[str, Any]] = [
    {"pdb": {"minAvailable": 1}},
    {"pdb": {"minAvailable": "50%"}},
    {"pdb": {"maxUnavailable": "25%"}},
    {"replicas": None, "autoscaling": {"enabled": False}, "pdb": {"minAvailable": 2}},
]


@pytest.mark.parametrize(
    "values",
    [{}, PRODUCTION, *({"dataplane": each} for each in BUDGETS)],
    ids=["defaults", "production", *(str(each["pdb"]) for each in BUDGETS)],
)
def test_good_values_have_no_warning(values: dict[str, Any]) -> None:
    assert "Before you go" not in notes_of(values)


def test_the_notes_have_the_next_commands() -> None:
    notes = notes_of({})
    commands = [line.strip() for line in notes.splitlines() if line.startswith("   ")]
    assert [command.split()[0] for command in commands] == [
        "kubectl",
        "helm",
        "kubectl",
        "headgate",
        "headgate",
    ]
    assert "headgate login http://127.0.0.1:8080 -u admin" in commands
