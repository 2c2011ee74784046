"""The objects of a metrics API that the tests serve: for the autoscaler of a cluster without one."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.kubernetes import objects
from tests.support.kubernetes.objects import Object

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
API_SERVICE = f"{VERSION}.{GROUP}"
NAME = "metrics"
PORT = 6443


def certificate(namespace: str, folder: Path) -> tuple[Object, str]:
    """A Secret with the server's certificate, and the authority in base64."""
    authority = Authority(folder)
    files = authority.issue(NAME, hosts=[f"{NAME}.{namespace}.svc"])
    values = {name: path.read_text() for name, path in zip(("tls.crt", "tls.key"), files, strict=True)}
    return objects.secret(NAME, values), base64.b64encode(authority.certificate.read_bytes()).decode()


def account(namespace: str) -> list[Object]:
    """A service account that may list the namespace's pods."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": objects.metadata(NAME)},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": objects.metadata(NAME), "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": objects.metadata(NAME),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        },
    ]


def api_service(namespace: str, authority: str) -> Object:
    """Leads the API's path to the Service. It is an object of the whole cluster."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": objects.metadata(API_SERVICE),
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": authority,
            "service": {"namespace": namespace, "name": NAME, "port": PORT},
        },
    }
