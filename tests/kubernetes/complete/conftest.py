"""The release, for all tests of this package: they run in the order of their names, and leave it working."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.kubernetes.conftest import new_namespace
from tests.support.kubernetes.administrator import Administrator
from tests.support.kubernetes.helm import Helm
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.release import NAME

ETCD = f"{NAME}-headgate-etcd"
PLANES = ("controlplane", "dataplane")
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
TIMEOUT = 400
"""Seconds for what Helm or a rollout waits for."""
READY = "both planes are ready"
"""What the test of the release says."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The release `gate`, and who works with it."""

    kubectl: Kubectl
    helm: Helm
    administrator: Administrator
    values: dict[str, Any]

    def etcdctl(self, *arguments: str, member: int = 0) -> str:
        return self.kubectl.run("exec", f"{ETCD}-{member}", "--", "etcdctl", *arguments)

    def pods(self, component: str) -> list[str]:
        """The names of a component's pods."""
        found = self.kubectl.list("pods", f"app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in found]

    def rolled_out(self) -> None:
        """Until every pod of the release is ready, and of the newest revision."""
        self.kubectl.rolled_out(f"statefulset/{ETCD}", TIMEOUT)
        for plane in PLANES:
            self.kubectl.rolled_out(f"deployment/{NAME}-headgate-{plane}", TIMEOUT)

    def run_job(self, cron_job: str, name: str) -> str:
        """Run a CronJob once, now; return its log."""
        self.kubectl.run("create", "job", name, f"--from=cronjob/{cron_job}")
        self.kubectl.wait(f"job/{name}", "condition=complete", TIMEOUT)
        return self.kubectl.run("logs", f"job/{name}")


def values_of(images: Images) -> dict[str, Any]:
    """Everything on, and small requests, so that the nodes may be small."""
    repository, _, tag = images.etcd.rpartition(":")

    def image(which: str) -> dict[str, str]:
        return {"repository": images.name(which), "tag": images.tag}

    return {
        "etcd": {
            "enabled": True,
            "image": {"registry": "", "repository": repository, "tag": tag},
            "storage": {"size": "1Gi"},
            "backup": {"size": "1Gi"},
            "resources": SMALL,
        },
        "grpcTls": {"enabled": True},
        "networkPolicy": {"enabled": True, "egress": {"enabled": True}},
        "controlplane": {"image": image("headgate-controlplane"), "resources": SMALL},
        "dataplane": {
            "image": image("headgate-dataplane"),
            "resources": SMALL,
            "autoscaling": {"enabled": False},
            "preStopSeconds": 1,
            "drainTimeout": 5,
        },
    }


@pytest.fixture(scope="package")
def complete(cluster: Kubectl, images: Images) -> Iterator[Complete]:
    with new_namespace(cluster) as kubectl:
        helm = Helm(kubectl.kubeconfig, kubectl.namespace)
        administrator = Administrator(kubectl, images)
        values = values_of(images)
        helm.install(NAME, values, wait="watcher", timeout=TIMEOUT)
        administrator.start()
        yield Complete(kubectl, helm, administrator, values)
