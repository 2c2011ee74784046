"""The objects around a release: etcd, services, the administrator's client, load, and a metrics API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kubernetes import metrics_api, objects, workloads
from tests.support.kubernetes.objects import Object

WORKLOADS = Path(workloads.__file__).parent
ECHO_PORT = 9000
HEADGATE = ("python3", "-m", "headgate.cli")
SECRET = "headgate-secrets"

BESIDE_ETCD: Object = {
    "affinity": {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "etcd"}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        }
    }
}
"""For what must go on while another node is drained."""


IDENTITY: list[Object] = [
    {"name": "HEADGATE_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "HEADGATE_PORT", "value": str(ECHO_PORT)},
]


@dataclass(frozen=True, slots=True)
class Manifests:
    """For one namespace: all pods run the image of the SDK."""

    image: str
    namespace: str
    controlplane: str
    """The Service of the control planes."""

    def programs(self) -> Object:
        """The programs of the pods below."""
        return objects.config_map(
            "programs", {path.name: path.read_text() for path in WORKLOADS.glob("[a-z]*.py")}
        )

    def client(self) -> Object:
        """A pod in which the administrator types."""
        spec = self._pod("idle", env=[{"name": "HOME", "value": "/tmp"}])
        return objects.pod("client", {**spec, **BESIDE_ETCD})

    def load(self, name: str, *arguments: str) -> Object:
        """A pod with load; the arguments are those of the program."""
        return objects.pod(name, {**self._pod("load", *arguments), **BESIDE_ETCD})

    def echo(self) -> list[Object]:
        """The service, as docs/how-to/kubernetes-services.md says, but in plain text."""
        spec = self._pod(
            "echo",
            env=[*IDENTITY, *self._registration()],
            startupProbe=objects.http_probe("/health", ECHO_PORT, periodSeconds=1, failureThreshold=60),
            readinessProbe=objects.http_probe("/ready", ECHO_PORT, periodSeconds=2),
            lifecycle={"preStop": {"exec": {"command": [*HEADGATE, "drain", "echo", "--timeout", "25"]}}},
            resources={"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        )
        labels = {"run": self.namespace}
        echo = objects.deployment("echo", 2, objects.spread("echo", spec), labels, minReadySeconds=5)
        return [echo, objects.budget("echo")]

    def plain(self) -> list[Object]:
        """A service that is found through its EndpointSlices, as docs/how-to/discovery.md says."""
        spec = self._pod(
            "echo",
            env=IDENTITY,
            readinessProbe=objects.http_probe("/health", ECHO_PORT, periodSeconds=1),
            lifecycle={"preStop": {"sleep": {"seconds": 5}}},
        )
        return [objects.deployment("plain", 2, spec), objects.service("plain", 80, ECHO_PORT)]

    def kill(self, node: str, containers: list[str]) -> Object:
        """A pod that sees the node's processes, and kills those of these containers."""
        spec = self._pod("kill", *containers, securityContext={"privileged": True})
        spec["securityContext"] = {"runAsUser": 0}
        return objects.pod("kill", {**spec, "hostPID": True, "nodeName": node})

    def metrics_api(self) -> list[Object]:
        """The server of a metrics API; the Secret and the account of `metrics_api` are needed, too."""
        port = metrics_api.PORT
        spec = self._pod("metrics", readinessProbe={"tcpSocket": {"port": port}, "periodSeconds": 1})
        spec["containers"][0]["volumeMounts"].append({"name": "certificate", "mountPath": "/certificate"})
        spec["volumes"].append({"name": "certificate", "secret": {"secretName": metrics_api.NAME}})
        spec |= {"serviceAccountName": metrics_api.NAME, "automountServiceAccountToken": True}
        return [
            objects.deployment(metrics_api.NAME, 1, spec),
            objects.service(metrics_api.NAME, port, port),
        ]

    def _pod(self, program: str, *arguments: str, **container: Any) -> Object:
        return objects.pod_spec(
            self.image,
            ["python3", f"/programs/{program}.py", *arguments],
            volumes=[{"name": "programs", "configMap": {"name": "programs"}}],
            volumeMounts=[{"name": "programs", "mountPath": "/programs"}],
            **container,
        )

    def _registration(self) -> list[Object]:
        """Environment variables of a pod that registers itself."""
        return [
            {"name": "HEADGATE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "HEADGATE_CONTROLPLANE", "value": f"{self.controlplane}:50051"},
            {
                "name": "HEADGATE_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "SERVICE_TOKEN"}},
            },
            # The namespace's pods are alone in this network.
            {"name": "HEADGATE_INSECURE", "value": "true"},
        ]


def etcd(image: str) -> list[Object]:
    """An etcd whose data end with its pod."""
    command = [
        *("etcd", "--data-dir=/tmp/etcd", "--listen-client-urls=http://0.0.0.0:2379"),
        *("--advertise-client-urls=http://etcd:2379", "--unsafe-no-fsync", "--log-level=warn"),
    ]
    probe = objects.http_probe("/health", 2379, periodSeconds=1)
    spec = objects.pod_spec(image, command, readinessProbe=probe)
    return [objects.deployment("etcd", 1, spec), objects.service("etcd", 2379, 2379)]
