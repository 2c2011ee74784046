"""A container's processes get SIGKILL under load, as by the kernel when memory is short. Kubelet starts it again.

A killed data plane takes with it the requests that it had received, and its node refuses connections to it until
Kubernetes has removed it from the Service. Nothing on the data plane can prevent that. Nothing else may fail.
"""

from __future__ import annotations

import pytest

from tests.kubernetes.conftest import RATE, figures, measured
from tests.support.kubernetes.load import Load
from tests.support.kubernetes.release import CONNECTIONS, Release, of_plane
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(900)

REFUSED_FOR = 5.0
"""Seconds within which Kubernetes removes a killed pod from its Service."""


def kill(release: Release, selector: str) -> None:
    """Kill one pod's container; returns when it runs again and is ready."""
    pod = release.pods(selector)[0]
    before = restarts(release, pod)
    release.kill(pod)
    eventually_now(lambda: restarts(release, pod) > before, within=60, every=0.2)
    release.kubectl.wait(f"pod/{pod}", "condition=Ready")


def restarts(release: Release, pod: str) -> int:
    (status,) = release.kubectl.get("pod", pod)["status"]["containerStatuses"]
    return int(status["restartCount"])


@pytest.mark.parametrize("selector", [of_plane("controlplane"), "app=echo", "app=etcd"])
def test_no_request_fails(release: Release, load: Load, selector: str) -> None:
    kill(release, selector)
    load.more()


def test_a_killed_data_plane_fails_only_what_it_had_received(
    release: Release, request: pytest.FixtureRequest
) -> None:
    with measured(release.load(RATE), request.node.name) as (load, outcome):
        kill(release, of_plane("dataplane"))
        load.more()
    failed = outcome.counts.failed
    figures.append(f"  failed: {dict(failed)}")
    unsent = sum(count for reason, count in failed.items() if reason.startswith("connect: "))
    assert failed.total() - unsent <= CONNECTIONS
    assert not any(reason.startswith("http") for reason in failed)
