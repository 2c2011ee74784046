"""How long a new data plane takes until it serves, and a new installation until its first answer.

These are figures, not conditions: a busy machine takes longer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import pytest

from tests.kubernetes.conftest import figures, new_namespace
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.objects import Object
from tests.support.kubernetes.release import DATA_PLANE, DOCUMENT, Release, of_plane
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(900)

ROUTES = 1000
PODS = 7
"""New pods, one after the other; the median counts."""
INSTALLATIONS = 3
READY = '{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}'


def many_routes() -> Object:
    """The route of the tests and others, in one document."""
    more = [
        {"name": f"echo-{number}", "prefix": f"/echo-{number}", "service_name": "echo", "public": True}
        for number in range(1, ROUTES)
    ]
    return {"routes": [*DOCUMENT["routes"], *more]}


def test_a_new_data_plane_serves_a_thousand_routes(release: Release) -> None:
    release.configure(many_routes())
    times = [new_pod(release) for _ in range(PODS)]
    figures.append(f"new data plane with {ROUTES} routes, created → serving: {spread(times)} (must: 3 s)")


def new_pod(release: Release) -> float:
    """Replace a data plane. The seconds from the first news of the new one until it is ready; it then answers."""
    before = release.pods(of_plane("dataplane"))
    with release.kubectl.watch("pods", of_plane("dataplane"), READY) as watch:
        watch.first(lambda line: line.startswith(before[0]))
        release.kubectl.run("delete", "pod", before[0], "--wait=false")
        created, line = watch.first(lambda line: line.split()[0] not in before)
        pod = line.split()[0]
        ready, _ = watch.first(lambda line: line.split() == [pod, "True"])
    where = f"/api/v1/namespaces/{release.kubectl.namespace}/pods/{pod}:8000/proxy"
    assert release.kubectl.run("get", "--raw", f"{where}/echo-{ROUTES - 1}")
    eventually_now(lambda: before[0] not in release.pods(of_plane("dataplane")), within=90, every=0.5)
    release.kubectl.rolled_out(f"deployment/{DATA_PLANE}")
    return ready - created


def test_an_installation_answers(cluster: Kubectl, images: Images) -> None:
    times = [first_answer(cluster, images) for _ in range(INSTALLATIONS)]
    figures.append(f"new namespace → first answer: {spread(times)} (must: 60 s)")


def first_answer(cluster: Kubectl, images: Images) -> float:
    """Seconds for a namespace, an etcd, the chart, a service and its route, until a request is answered."""
    began = time.monotonic()
    with new_namespace(cluster) as kubectl:
        release = Release(kubectl, images)
        release.install()
        eventually_now(lambda: release.ask("/echo"), within=60, every=0.1)
        return time.monotonic() - began


def spread(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.1f} s, {min(seconds):.1f} to {max(seconds):.1f} s of {len(seconds)}"
