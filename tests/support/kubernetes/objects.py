"""Kubernetes objects of the tests, as small as clusters with the restricted Pod Security Standard take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def metadata(name: str) -> Object:
    return {"name": name, "labels": {"app": name}}


def pod_spec(image: str, command: Sequence[str], **container: Any) -> Object:
    """A pod of one container, which may write only to /tmp. `container` has further fields of the container."""
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *container.pop("volumeMounts", [])]
    volumes = [{"name": "tmp", "emptyDir": {}}, *container.pop("volumes", [])]
    main = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command)}
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": POD_SECURITY,
        "containers": [{**main, "securityContext": RESTRICTED, "volumeMounts": mounts, **container}],
        "volumes": volumes,
    }


def pod(name: str, spec: Object) -> Object:
    """A pod that is not started again."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name),
        "spec": {"restartPolicy": "Never", **spec},
    }


def deployment(
    name: str, replicas: int, spec: Object, labels: Mapping[str, str] | None = None, **fields: Any
) -> Object:
    """A Deployment that never has fewer pods than replicas. `labels` are further ones of the pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name),
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, **(labels or {})}}, "spec": spec},
            **fields,
        },
    }


def spread(name: str, spec: Object) -> Object:
    """The spec, with the pods of a Deployment on different nodes if possible."""
    rule = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": name}},
        "matchLabelKeys": ["pod-template-hash"],
    }
    return {**spec, "topologySpreadConstraints": [rule]}


def budget(name: str) -> Object:
    """A Deployment's pods are evicted one by one."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(name),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def service(name: str, port: int, target: int, **fields: Any) -> Object:
    """A Service for the pods of the Deployment or pod of this name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name),
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target}], **fields},
    }


def config_map(name: str, files: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name), "data": dict(files)}


def secret(name: str, values: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "stringData": dict(values)}


def http_probe(path: str, port: int, **fields: Any) -> Object:
    return {"httpGet": {"path": path, "port": port}, **fields}
