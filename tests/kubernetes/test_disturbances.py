"""No request fails while pods come and go: LOAD_RATE (1000) requests a second on the gateway's Service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.kubernetes.conftest import figures
from tests.support.kubernetes.release import CONTROL_PLANE, DATA_PLANE, Load, Release

pytestmark = pytest.mark.timeout(600)

RATE = int(os.environ.get("LOAD_RATE", "1000"))


@pytest.fixture(autouse=True)
def load(release: Release, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Load during the test, none of whose requests may fail."""
    load = release.load(RATE)
    began, before = time.monotonic(), load.counts()
    yield load
    after = load.end()
    seconds = time.monotonic() - began
    rate = (after.total - before.total) / seconds
    figures.append(
        f"{request.node.name}: {after.total} requests, {after.failed.total()} failed, "
        f"{rate:.0f}/s for {seconds:.0f} s, slowest {after.slowest:.3f} s"
    )
    assert not after.failed


def restart(release: Release, deployment: str) -> None:
    """Replace every pod."""
    release.kubectl.run("rollout", "restart", f"deployment/{deployment}")
    release.kubectl.rolled_out(f"deployment/{deployment}")


def scale(release: Release, replicas: int) -> None:
    release.kubectl.run("scale", f"deployment/{DATA_PLANE}", f"--replicas={replicas}")
    release.kubectl.rolled_out(f"deployment/{DATA_PLANE}")


def pods(release: Release, selector: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in release.kubectl.list("pods", selector)]


def of_plane(plane: str) -> str:
    return f"app.kubernetes.io/component={plane}"


def test_rollout_of_the_data_plane(release: Release, load: Load) -> None:
    restart(release, DATA_PLANE)
    load.more()


def test_rollout_of_the_control_plane(release: Release, load: Load) -> None:
    restart(release, CONTROL_PLANE)
    load.more()


def test_rollout_of_the_service(release: Release, load: Load) -> None:
    before = set(load.counts().answered)
    restart(release, "echo")
    assert len(set(load.more().answered) - before) == 2


def test_scale_from_one_to_five_to_two(release: Release, load: Load) -> None:
    for replicas in (1, 5, 2):
        scale(release, replicas)
        load.more()


def test_a_data_plane_is_deleted(release: Release, load: Load) -> None:
    release.kubectl.run("delete", "pod", pods(release, of_plane("dataplane"))[0])
    release.kubectl.rolled_out(f"deployment/{DATA_PLANE}")
    load.more()


@pytest.mark.parametrize(
    ("selector", "deployment"), [(of_plane("controlplane"), CONTROL_PLANE), ("app=echo", "echo")]
)
def test_a_pod_is_killed(release: Release, load: Load, selector: str, deployment: str) -> None:
    """Without a chance to end: the gateway does not need the control plane, and tries another instance."""
    release.kubectl.run("delete", "pod", pods(release, selector)[0], "--force", "--grace-period=0")
    release.kubectl.rolled_out(f"deployment/{deployment}")
    load.more()
