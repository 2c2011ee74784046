"""Values that are mistyped, of the wrong type, or contradict each other: the error says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import NEEDED, helm, render

MISTYPED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown value": ({"dataplane": {"worker": 2}}, "worker"),
    "unknown group": ({"dataPlane": {}}, "dataPlane"),
    "unknown value of a group": ({"dataplane": {"service": {"prot": 80}}}, "prot"),
    "unknown setting of a probe": ({"controlplane": {"probes": {"readiness": {"period": 1}}}}, "period"),
    "no etcd": ({"etcd": {"endpoints": []}}, "/etcd/endpoints"),
    "etcd without scheme": ({"etcd": {"endpoints": ["etcd:2379"]}}, "/etcd/endpoints/0"),
    "etcd without port": ({"etcd": {"endpoints": ["http://etcd"]}}, "/etcd/endpoints/0"),
    "wrong type": ({"controlplane": {"replicas": "two"}}, "/controlplane/replicas"),
    "a number as variable": ({"dataplane": {"env": {"MAX_ROUTES": 5}}}, "/dataplane/env/MAX_ROUTES"),
    "an annotation that is no text": (
        {"dataplane": {"service": {"annotations": {"a": True}}}},
        "/dataplane/service/annotations/a",
    ),
    "a host as network": ({"dataplane": {"trustedProxies": ["proxy"]}}, "/dataplane/trustedProxies/0"),
    "a prefix longer than an address": (
        {"controlplane": {"trustedProxies": ["192.0.2.0/24", "10.0.0.0/33"]}},
        "/controlplane/trustedProxies/1",
    ),
    "a prefix longer than an IPv6 address": (
        {"controlplane": {"registerDeny": ["2001:db8::/129"]}},
        "/controlplane/registerDeny/0",
    ),
    "too large a part of an address": (
        {"dataplane": {"service": {"loadBalancerSourceRanges": ["10.0.256.0/24"]}}},
        "/dataplane/service/loadBalancerSourceRanges/0",
    ),
    "too few parts of an address": (
        {"dataplane": {"proxyProtocolFrom": ["10.0/16"]}},
        "/dataplane/proxyProtocolFrom/0",
    ),
    "an incomplete digest": (
        {"controlplane": {"image": {"digest": "sha256:1"}}},
        "/controlplane/image/digest",
    ),
    "a registry with a scheme": ({"image": {"registry": "https://registry.example.org"}}, "/image/registry"),
    "a field that has a value of its own": (
        {"dataplane": {"extraPodSpec": {"nodeSelector": {"a": "b"}}}},
        "/dataplane/extraPodSpec/nodeSelector",
    ),
    "a field of a Service that has a value of its own": (
        {"dataplane": {"service": {"extraSpec": {"type": "NodePort"}}}},
        "/dataplane/service/extraSpec/type",
    ),
    "an unknown mode": ({"dataplane": {"rateLimit": {"mode": "global"}}}, "/dataplane/rateLimit/mode"),
}
CLUSTER_IP: dict[str, dict[str, Any]] = {
    "nodePorts": {"nodePorts": {"http": 30080}},
    "externalTrafficPolicy": {"externalTrafficPolicy": "Local"},
    "loadBalancerClass": {"loadBalancerClass": "example.org/internal"},
}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no Secret": ({"existingSecret": ""}, "Set existingSecret, or secrets.source"),
    "TLS without certificate": ({"dataplane": {"tls": {"enabled": True}}}, "in dataplane.tls.secrets"),
    "no port": ({"dataplane": {"http": {"enabled": False}}}, "enable one of them"),
    "one port twice": (
        {"dataplane": {"tls": {"enabled": True, "secrets": ["a"]}, "service": {"port": 443}}},
        "use two ports",
    ),
    "bounds of the autoscaler": (
        {"dataplane": {"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}},
        "is above maxReplicas",
    ),
    "nothing to scale by": (
        {"dataplane": {"autoscaling": {"targetCPUUtilizationPercentage": 0}}},
        "needs a target",
    ),
    "a short grace": (
        {"dataplane": {"terminationGracePeriodSeconds": 20}},
        "a pod needs 35 s to end: set it to 0",
    ),
    "a rollout that cannot begin": (
        {"controlplane": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}},
        "set one of them above 0",
    ),
    "redis without Redis": ({"dataplane": {"rateLimit": {"mode": "redis"}}}, "no Redis is named"),
    "two kinds of Redis": (
        {"dataplane": {"redis": {"sentinels": ["a:1"], "cluster": ["b:1"]}}},
        "exclude each other",
    ),
    "two addresses of Redis": (
        {"dataplane": {"redis": {"host": "a", "secret": "b"}}},
        "exclude each other",
    ),
    "an Ingress without host": (
        {"controlplane": {"ingress": {"enabled": True}}},
        "controlplane.ingress.hosts",
    ),
    "etcd with and without TLS": ({"etcd": {"endpoints": ["http://a:1", "https://b:1"]}}, "all of them"),
    "etcd's TLS without https": ({"etcd": {"tlsSecret": "etcd"}}, "change the URLs"),
    "namespaces without discovery": (
        {"controlplane": {"discovery": {"kubernetes": {"namespaces": ["shop"]}}}},
        "controlplane.discovery.kubernetes.enabled",
    ),
    "one node port twice": (
        {
            "dataplane": {
                "tls": {"enabled": True, "secrets": ["a"]},
                "service": {"type": "NodePort", "nodePorts": {"http": 30080, "https": 30080}},
            }
        },
        "names one port twice",
    ),
    "a login for the etcd of the release": (
        {"etcd": {"enabled": True, "tls": {"enabled": False}, "authSecret": "login"}},
        "etcd.authSecret is the login of an etcd of yours",
    ),
    "two monitors": (
        {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "enable one of them",
    ),
    **{
        f"{name} of a ClusterIP": ({"dataplane": {"service": values}}, "dataplane.service.type")
        for name, values in CLUSTER_IP.items()
    },
}


@pytest.mark.parametrize(("values", "place"), MISTYPED.values(), ids=MISTYPED)
def test_a_wrong_value_is_named(values: dict[str, Any], place: str) -> None:
    with pytest.raises(helm.HelmError, match=place):
        render({**NEEDED, **values})


@pytest.mark.parametrize(("values", "advice"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_an_error_that_says_what_to_do(values: dict[str, Any], advice: str) -> None:
    with pytest.raises(helm.HelmError, match=advice):
        render({**NEEDED, **values})


def test_all_contradictions_are_in_one_error() -> None:
    values = {"dataplane": {"tls": {"enabled": True}, "rateLimit": {"mode": "redis"}}}
    with pytest.raises(helm.HelmError) as refused:
        render({**NEEDED, **values})
    assert "dataplane.tls.secrets\n- dataplane.rateLimit.mode is redis" in str(refused.value)
