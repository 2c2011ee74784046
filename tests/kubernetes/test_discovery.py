"""A Deployment that knows nothing of the gateway is found through its EndpointSlices, and rolled under load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.conftest import RATE, measured
from tests.support.kubernetes.load import Load
from tests.support.kubernetes.manifests import ECHO_PORT
from tests.support.kubernetes.objects import Object
from tests.support.kubernetes.release import CONTROL_PLANE, DOCUMENT, Release
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(900)

PLAIN: Object = {"service_name": "plain", "check_path": "/health", "check_interval": 1}
ROUTE: Object = {"name": "plain", "prefix": "/plain", "service_name": "plain", "public": True}


@pytest.fixture(scope="module", autouse=True)
def plain(release: Release) -> None:
    """The service, once it is found and served."""
    release.add_plain()
    source = {"namespace": release.kubectl.namespace, "service": "plain", "port": ECHO_PORT}
    discovered = {**PLAIN, "discovery": {"kubernetes": source}}
    release.configure({"services": [discovered], "routes": [*DOCUMENT["routes"], ROUTE]})
    eventually_now(lambda: release.ask("/plain"), within=60, every=0.5)


@pytest.fixture(autouse=True)
def load(release: Release, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Load on the discovered service, none of whose requests may fail."""
    with measured(release.load(RATE, path="/plain"), request.node.name) as (load, outcome):
        yield load
    assert not outcome.counts.failed


def test_rollout_of_a_discovered_service(release: Release, load: Load) -> None:
    before = set(load.counts().answered)
    release.kubectl.run("rollout", "restart", "deployment/plain")
    release.kubectl.rolled_out("deployment/plain")
    assert len(set(load.more().answered) - before) == 2


def test_scaling_of_a_discovered_service(release: Release, load: Load) -> None:
    for replicas in (4, 2):
        release.kubectl.run("scale", "deployment/plain", f"--replicas={replicas}")
        release.kubectl.rolled_out("deployment/plain")
        wait_for_instances(release, replicas)
        load.more()


def test_another_control_plane_takes_over(release: Release, load: Load) -> None:
    """The elected one asks the API server: after a rollout, it is another one."""
    release.kubectl.run("rollout", "restart", f"deployment/{CONTROL_PLANE}")
    release.kubectl.rolled_out(f"deployment/{CONTROL_PLANE}")
    release.kubectl.run("rollout", "restart", "deployment/plain")
    release.kubectl.rolled_out("deployment/plain")
    load.more()


def wait_for_instances(release: Release, number: int) -> None:
    """Until the gateway knows this number of instances, all of them discovered."""

    def known() -> bool:
        return release.run("get", "instances", "--output", "yaml").count("source: discovered") == number

    eventually_now(known, within=60, every=0.5)
