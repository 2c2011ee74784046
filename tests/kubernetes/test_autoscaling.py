"""The autoscaler adds data planes when the requests in flight double, and the new ones carry traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.conftest import figures, new_namespace
from tests.support.kubernetes import metrics_api
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.load import Load
from tests.support.kubernetes.release import DATA_PLANE, Release, of_plane
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(900)

RATE = 200
"""Requests a second of a tenth of a second each: 20 in flight."""
TARGET = 15
"""In flight for each pod: two pods are enough for 20, but not for 40."""
READY = '{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}'


@pytest.fixture
def autoscaled(cluster: Kubectl, images: Images, tmp_path: Path) -> Iterator[Release]:
    """A release that is scaled by the requests in flight, and the metrics API for that."""
    if metrics_api.API_SERVICE in cluster.run("get", "apiservices", "--output=name"):
        pytest.skip("the cluster has a metrics API of its own")
    with new_namespace(cluster) as kubectl:
        release = Release(kubectl, images)
        serve_metrics(release, tmp_path)
        try:
            by_requests = {"targetCPUUtilizationPercentage": 0, "targetRequestsInFlight": TARGET}
            release.install(
                dataplane={
                    "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 6, **by_requests}
                }
            )
            yield release
        finally:
            cluster.run("delete", "apiservice", metrics_api.API_SERVICE)


def serve_metrics(release: Release, folder: Path) -> None:
    """Returns when the API server has the metrics API."""
    namespace = release.kubectl.namespace
    secret, authority = metrics_api.certificate(namespace, folder)
    release.serve_metrics(secret)
    release.kubectl.apply(metrics_api.api_service(namespace, authority))
    release.kubectl.wait(f"apiservice/{metrics_api.API_SERVICE}", "condition=Available")


def test_new_pods_carry_doubled_load(autoscaled: Release) -> None:
    release = autoscaled
    load = slow_load(release, "load")
    eventually_now(lambda: in_flight(release) > RATE / 30, within=120, every=1)
    before = release.pods(of_plane("dataplane"))
    assert len(before) == 2
    with release.kubectl.watch("pods", of_plane("dataplane"), READY) as watch:
        doubled = time.monotonic()
        second = slow_load(release, "more-load")
        created, line = watch.first(lambda line: line.split()[0] not in before, within=120)
        new = line.split()[0]
        ready, _ = watch.first(lambda line: line.split() == [new, "True"])
        eventually_now(lambda: carries_traffic(release, new), every=0.05)
        carries = time.monotonic()
    figures.append(
        f"autoscaler: load doubled → pod created {created - doubled:.1f} s, "
        f"ready {ready - created:.1f} s and traffic {carries - created:.1f} s after that (must: 3 s)"
    )
    assert not load.more().failed
    assert not second.more().failed


def slow_load(release: Release, name: str) -> Load:
    """On connections that are replaced every six seconds: a new pod gets none of the open ones."""
    return release.load(RATE, connections=60, path="/echo/slow", name=name, per_connection=20)


def in_flight(release: Release) -> float:
    """The average that the autoscaler has seen."""
    found = release.kubectl.get("hpa", DATA_PLANE)["status"]["currentMetrics"]
    value = found[0]["pods"]["current"]["averageValue"]
    return float(value[:-1]) / 1000 if value.endswith("m") else float(value)


def carries_traffic(release: Release, pod: str) -> bool:
    """Whether the metrics API says that requests are in flight in the pod."""
    path = f"/apis/{metrics_api.GROUP}/{metrics_api.VERSION}/namespaces/{release.kubectl.namespace}/pods"
    items = json.loads(release.kubectl.run("get", "--raw", f"{path}/*/headgate_requests_in_flight"))["items"]
    return any(item["describedObject"]["name"] == pod and item["value"] != "0m" for item in items)
