"""A gateway in a namespace: an etcd, the chart's release, a service that registers itself, and load on all of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.processes import ROOT
from tests.support.kubernetes import metrics_api, objects
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.load import Load
from tests.support.kubernetes.manifests import HEADGATE, SECRET, Manifests, etcd
from tests.support.kubernetes.objects import Object

if TYPE_CHECKING:
    import helm_python

CHART = ROOT / "charts" / "headgate"
NAME = "gate"
CONTROL_PLANE = f"{NAME}-headgate-controlplane"
DATA_PLANE = f"{NAME}-headgate-dataplane"
CONNECTIONS = 20
"""Of the load."""
DOCUMENT: Object = {
    "routes": [{"name": "echo", "prefix": "/echo", "service_name": "echo", "public": True}],
}


@dataclass(frozen=True, slots=True)
class Release:
    """The release in one namespace, and what is around it."""

    kubectl: Kubectl
    images: Images
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    def install(self, chart: Path = CHART, tag: str = "", **values: Any) -> None:
        """Install everything; returns when all pods are ready and the route is served. `tag` is that of the planes."""
        self.kubectl.apply(self._secret(), *etcd(self.images.etcd), self._manifests.programs())
        self.kubectl.rolled_out("deployment/etcd")
        with self._helm() as helm:
            helm.install(str(chart), NAME, merged(self._values(tag), values), wait="watcher", timeout=180)
        self.kubectl.apply(*self._manifests.echo(), self._manifests.client())
        self.kubectl.rolled_out("deployment/echo")
        self.kubectl.wait("pod/client", "condition=Ready")
        self.login()
        self.configure(DOCUMENT)

    def upgrade(self, **values: Any) -> None:
        """Upgrade the release to this chart; returns when it has been rolled out."""
        with self._helm() as helm:
            helm.upgrade(
                str(CHART),
                NAME,
                merged(self._values(), values),
                reset_values=True,
                wait="watcher",
                timeout=300,
            )

    def rollback(self) -> None:
        """Return to the revision before; returns when it has been rolled out."""
        with self._helm() as helm:
            helm.rollback(NAME, wait="watcher", timeout=300)

    def ask(self, path: str) -> str:
        """The answer to one request through the gateway's Service. Raises KubectlError unless its status is 2xx."""
        where = f"/api/v1/namespaces/{self.kubectl.namespace}/services/{DATA_PLANE}:80/proxy"
        return self.kubectl.run("get", "--raw", f"{where}{path}")

    def pods(self, selector: str) -> list[str]:
        """Names of the pods with these labels."""
        return [pod["metadata"]["name"] for pod in self.kubectl.list("pods", selector)]

    def kill(self, pod: str) -> None:
        """End every process of a pod's containers with SIGKILL, as a lack of memory does."""
        found = self.kubectl.get("pod", pod)
        ids = [each["containerID"].rpartition("/")[2] for each in found["status"]["containerStatuses"]]
        self.kubectl.apply(self._manifests.kill(found["spec"]["nodeName"], ids))
        self.kubectl.wait("pod/kill", "jsonpath={.status.phase}=Succeeded")
        self.kubectl.run("delete", "pod", "kill", "--now")

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

    def load(
        self,
        rate: int,
        connections: int = CONNECTIONS,
        path: str = "/echo",
        name: str = "load",
        per_connection: int = 200,
    ) -> Load:
        """Start load on the gateway's Service; returns when it flows."""
        numbers = map(str, (rate, connections, per_connection))
        self.kubectl.apply(self._manifests.load(name, DATA_PLANE, "80", path, *numbers))
        self.kubectl.wait(f"pod/{name}", "condition=Ready")
        load = Load(self.kubectl, name, rate)
        load.more()
        return load

    def add_plain(self) -> None:
        """A service that knows nothing of the gateway; returns when its pods are ready."""
        self.kubectl.apply(*self._manifests.plain())
        self.kubectl.rolled_out("deployment/plain")

    def serve_metrics(self, secret: Object) -> None:
        """The server of a metrics API with the certificate of this Secret; returns when it answers."""
        manifests = self._manifests
        self.kubectl.apply(secret, manifests.programs(), *metrics_api.account(self.kubectl.namespace))
        self.kubectl.apply(*manifests.metrics_api())
        self.kubectl.rolled_out(f"deployment/{metrics_api.NAME}")

    @property
    def _manifests(self) -> Manifests:
        return Manifests(self.images.reference("headgate-sdk"), self.kubectl.namespace, CONTROL_PLANE)

    def _helm(self) -> helm_python.Config:
        # Some machines have no wheel of it.
        import helm_python

        return helm_python.Config(kubeconfig_path=self.kubectl.kubeconfig, namespace=self.kubectl.namespace)

    def _values(self, tag: str = "") -> dict[str, Any]:
        def image(which: str) -> dict[str, str]:
            return {"repository": self.images.name(which), "tag": tag or self.images.tag}

        return {
            "existingSecret": SECRET,
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
        return objects.secret(SECRET, {**values, "ADMIN_PASSWORD": self.password})


def of_plane(plane: str) -> str:
    """The selector of a plane's pods."""
    return f"app.kubernetes.io/component={plane}"


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
