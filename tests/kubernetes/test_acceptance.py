"""The API server accepts every object of the chart, for values that reach all templates: a dry run of the server.

Objects of operators (Prometheus, cert-manager, external-secrets) are left out: their kinds are not installed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.kubernetes.helm import Helm
from tests.support.kubernetes.kubectl import Kubectl, KubectlError
from tests.support.kubernetes.release import CHART, NAME, merged

pytestmark = pytest.mark.timeout(300)

OPERATORS = ("monitoring.coreos.com", "cert-manager.io", "external-secrets.io")
PRODUCTION = yaml.safe_load((CHART / "values-production.yaml").read_text())
EVERYTHING: dict[str, Any] = {
    "commonLabels": {"team": "edge"},
    "commonAnnotations": {"example.org/owner": "edge"},
    "etcd": {"enabled": True, "antiAffinity": "required", "replicas": 5},
    "grpcTls": {"enabled": True, "services": ["orders"], "extraNames": ["grpc.example.org"]},
    "controlplane": {
        "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]},
        "ingress": {
            "enabled": True,
            "className": "internal",
            "hosts": ["admin.example.org"],
            "tls": [{"hosts": ["admin.example.org"], "secretName": "admin-tls"}],
        },
        "rbac": {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]},
        "discovery": {"kubernetes": {"enabled": True}},
        "pdb": {"minAvailable": 1},
        "env": {"DEBUG": "true"},
        "extraEnv": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "envFrom": [{"secretRef": {"name": "more", "optional": True}}],
        "trustedProxies": ["10.0.0.0/8"],
    },
    "dataplane": {
        "service": {"type": "NodePort", "nodePorts": {"http": 30080, "https": 30443}},
        "tls": {"enabled": True, "secrets": ["gateway-tls"]},
        "upstreamTls": {"secret": "client-tls"},
        "rateLimit": {"mode": "redis"},
        "redis": {"host": "redis", "tlsSecret": "redis-tls", "clientCertificate": True},
        "autoscaling": {"targetMemoryUtilizationPercentage": 80, "targetRequestsInFlight": 200},
        "extraContainers": [{"name": "side", "image": "side:1"}],
        "initContainers": [{"name": "first", "image": "first:1"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
    },
    "networkPolicy": {
        "enabled": True,
        "traffic": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "registry": [{"namespaceSelector": {}}],
        "admin": [{"podSelector": {}}],
        "monitoring": [{"namespaceSelector": {}}],
        "egress": {"enabled": True, "extra": [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]},
    },
}
RESTORE = {"enabled": True, "dataDir": "restored", "restore": {"snapshot": "saved.db"}}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "production": PRODUCTION,
    "production with an etcd of the release": merged(PRODUCTION, {"etcd": {"enabled": True}}),
    "everything": EVERYTHING,
    "a restore": {"etcd": RESTORE},
    "discovery in two namespaces": {
        "controlplane": {
            "discovery": {"kubernetes": {"enabled": True, "namespaces": ["default", "kube-system"]}}
        }
    },
    "operators": {
        "secrets": {
            "source": "externalSecret",
            "externalSecret": {"store": {"name": "vault"}, "key": "headgate"},
        },
        "certificates": {"source": "certManager"},
        "grpcTls": {"enabled": True},
        "monitoring": {"serviceMonitor": {"enabled": True}},
    },
    "two families of addresses": {
        "dataplane": {
            "service": {
                "ipFamilyPolicy": "PreferDualStack",
                "externalTrafficPolicy": "Local",
                "type": "NodePort",
            }
        }
    },
    "a long name": {"fullnameOverride": "a" * 50, "etcd": {"enabled": True}, "grpcTls": {"enabled": True}},
}


@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_accepted(namespace: Kubectl, name: str) -> None:
    objects = Helm(namespace.kubeconfig, namespace.namespace).render(NAME, VALUES[name])
    known = [each for each in objects if each["apiVersion"].partition("/")[0] not in OPERATORS]
    assert len(known) > 10
    dry_run(namespace, *known)


def test_a_wrong_object_is_not_accepted(namespace: Kubectl) -> None:
    """The dry run finds faults: a field that does not exist."""
    objects = Helm(namespace.kubeconfig, namespace.namespace).render(
        NAME, {"existingSecret": "headgate-secrets"}
    )
    (service,) = (
        each
        for each in objects
        if each["metadata"]["name"] == f"{NAME}-headgate-dataplane" and each["kind"] == "Service"
    )
    service["spec"]["selectors"] = {}
    with pytest.raises(KubectlError, match="selectors"):
        dry_run(namespace, service)


def dry_run(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    """Admission and validation of the server, and nothing else."""
    for name in {each["metadata"].get("namespace", kubectl.namespace) for each in objects}:
        items = [each for each in objects if each["metadata"].get("namespace", kubectl.namespace) == name]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        there = kubectl.within(name)
        there.run("apply", "--server-side", "--dry-run=server", "-f", "-", given=json.dumps(document))
