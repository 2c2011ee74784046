"""A gateway in a namespace: an etcd, the chart's release, a service that registers itself, and load on all of it."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.processes import ROOT
from tests.support.kubernetes import objects, workloads
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.objects import Object
from tests.support.waiting import eventually_now

if TYPE_CHECKING:
    import helm_python

CHART = ROOT / "charts" / "headgate"
WORKLOADS = Path(workloads.__file__).parent
NAME = "gate"
CONTROL_PLANE = f"{NAME}-headgate-controlplane"
DATA_PLANE = f"{NAME}-headgate-dataplane"
ECHO_PORT = 9000
HEADGATE = ("python3", "-m", "headgate.cli")
DOCUMENT: Object = {
    "routes": [{"name": "echo", "prefix": "/echo", "service_name": "echo", "public": True}],
}


@dataclass(frozen=True, slots=True)
class Release:
    """The release in one namespace, and what is around it."""

    kubectl: Kubectl
    images: Images
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    def install(self, **values: Any) -> None:
        """Install everything; returns when all pods are ready and the route is served."""
        self.kubectl.apply(self._secret(), *etcd(self.images.etcd), *self._programs())
        self.kubectl.rolled_out("deployment/etcd")
        with self._helm() as helm:
            helm.install(str(CHART), NAME, merged(self._values(), values), wait="watcher", timeout=180)
        self.kubectl.apply(self._echo(), self._client())
        self.kubectl.rolled_out("deployment/echo")
        self.kubectl.wait("pod/client", "condition=Ready")
        self.login()
        self.configure(DOCUMENT)

    def upgrade(self, **values: Any) -> None:
        """Upgrade the release; returns when it has been rolled out."""
        with self._helm() as helm:
            helm.upgrade(str(CHART), NAME, merged(self._values(), values), wait="watcher", timeout=180)

    def login(self) -> None:
        """The client logs in as the administrator."""
        self.run(
            "login",
            f"http://{CONTROL_PLANE}:8080",
            "--username=admin",
            "--password-stdin",
            given=f"{self.password}\n",
        )

    def configure(self, document: Object) -> None:
        """Apply a configuration; returns when every data plane serves it."""
        self.run("apply", "-f", "-", "--wait", given=json.dumps(document))

    def run(self, *arguments: str, given: str = "") -> str:
        """`headgate` in the client's pod."""
        return self.kubectl.run("exec", "-i", "client", "--", *HEADGATE, *arguments, given=given)

    def load(self, rate: int, connections: int = 20) -> Load:
        """Start load on the gateway's Service; returns when it flows."""
        argv = ["python3", "/programs/load.py", DATA_PLANE, "80", "/echo", str(rate), str(connections)]
        self.kubectl.apply(objects.pod("load", self._pod(argv)))
        self.kubectl.wait("pod/load", "condition=Ready")
        load = Load(self.kubectl)
        load.more()
        return load

    def _helm(self) -> helm_python.Config:
        # Some machines have no wheel of it.
        import helm_python

        return helm_python.Config(kubeconfig_path=self.kubectl.kubeconfig, namespace=self.kubectl.namespace)

    def _values(self) -> dict[str, Any]:
        def image(which: str) -> dict[str, str]:
            return {"repository": self.images.name(which), "tag": self.images.tag}

        return {
            "existingSecret": "headgate-secrets",
            "etcd": {"endpoints": ["http://etcd:2379"]},
            "controlplane": {"image": image("headgate-controlplane")},
            "dataplane": {
                "image": image("headgate-dataplane"),
                "autoscaling": {"enabled": False},
                # The load comes from one address.
                "rateLimit": {"perSecond": 0},
                "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
            },
        }

    def _secret(self) -> Object:
        values = {
            name: secrets.token_urlsafe(32) for name in ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN")
        }
        return objects.secret("headgate-secrets", {**values, "ADMIN_PASSWORD": self.password})

    def _programs(self) -> list[Object]:
        files = {path.name: path.read_text() for path in WORKLOADS.glob("[a-z]*.py")}
        return [objects.config_map("programs", files)]

    def _pod(self, command: list[str], **container: Any) -> Object:
        return objects.pod_spec(
            self.images.reference("headgate-sdk"),
            command,
            volumes=[{"name": "programs", "configMap": {"name": "programs"}}],
            volumeMounts=[{"name": "programs", "mountPath": "/programs"}],
            **container,
        )

    def _client(self) -> Object:
        """A pod in which the administrator types."""
        return objects.pod(
            "client", self._pod(["python3", "/programs/idle.py"], env=[{"name": "HOME", "value": "/tmp"}])
        )

    def _echo(self) -> Object:
        """The service, as docs/how-to/kubernetes-services.md says, but in plain text."""
        spec = self._pod(
            ["python3", "/programs/echo.py"],
            env=registration(),
            startupProbe=objects.http_probe("/health", ECHO_PORT, periodSeconds=1, failureThreshold=60),
            readinessProbe=objects.http_probe("/ready", ECHO_PORT, periodSeconds=2),
            lifecycle={"preStop": {"exec": {"command": [*HEADGATE, "drain", "echo", "--timeout", "25"]}}},
            resources={"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        )
        return objects.deployment("echo", 2, spec, minReadySeconds=5)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with these changes, as helm takes several files of values: maps are merged, the rest is replaced."""
    result = dict(values)
    for key, change in changes.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(change, Mapping):
            result[key] = merged(before, change)
        else:
            result[key] = change
    return result


def registration() -> list[Object]:
    """The environment of a pod that registers itself."""
    return [
        {"name": "HEADGATE_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "HEADGATE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HEADGATE_PORT", "value": str(ECHO_PORT)},
        {"name": "HEADGATE_CONTROLPLANE", "value": f"{CONTROL_PLANE}:50051"},
        {
            "name": "HEADGATE_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "headgate-secrets", "key": "SERVICE_TOKEN"}},
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


@dataclass(frozen=True, slots=True)
class Counts:
    """What the load has counted since it began."""

    answered: Counter[str]
    """Answers by pod."""
    failed: Counter[str]
    """Failed requests by error."""
    slowest: float
    """Seconds."""

    @property
    def total(self) -> int:
        return self.answered.total() + self.failed.total()


@dataclass(frozen=True, slots=True)
class Load:
    """Load that runs in a pod."""

    kubectl: Kubectl

    def counts(self) -> Counts:
        """The newest ones, at most a second old."""
        found: dict[str, Any] = json.loads(self.kubectl.run("logs", "load", "--tail=1"))
        return Counts(Counter(found["answered"]), Counter(found["failed"]), found["slowest"])

    def more(self, requests: int = 2000) -> Counts:
        """Wait for this number of further requests."""
        before = eventually_now(self.counts, every=0.5).total

        def enough() -> Counts | None:
            found = self.counts()
            return found if found.total >= before + requests else None

        found = eventually_now(enough, within=60, every=0.5)
        assert found is not None
        return found

    def end(self) -> Counts:
        """Wait for the requests of two more seconds, and end it."""
        found = self.more()
        self.kubectl.run("delete", "pod", "load", "--now")
        return found
