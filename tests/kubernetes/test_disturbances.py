"""No request fails while pods come and go: LOAD_RATE (1000) requests a second on the gateway's Service."""

from __future__ import annotations

import pytest

from tests.support.kubernetes.load import Load
from tests.support.kubernetes.release import CONTROL_PLANE, DATA_PLANE, Release, of_plane

pytestmark = pytest.mark.timeout(600)

KINDS = [(of_plane("dataplane"), DATA_PLANE), (of_plane("controlplane"), CONTROL_PLANE), ("app=echo", "echo")]
"""Selector and Deployment of each kind of pod."""


def restart(release: Release, deployment: str) -> None:
    """Replace every pod."""
    release.kubectl.run("rollout", "restart", f"deployment/{deployment}")
    release.kubectl.rolled_out(f"deployment/{deployment}")


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
        release.kubectl.run("scale", f"deployment/{DATA_PLANE}", f"--replicas={replicas}")
        release.kubectl.rolled_out(f"deployment/{DATA_PLANE}")
        load.more()


@pytest.mark.parametrize(("selector", "deployment"), KINDS)
@pytest.mark.parametrize("how", [(), ("--force", "--grace-period=0")], ids=["deleted", "deleted by force"])
def test_a_pod_is_deleted(
    release: Release, load: Load, selector: str, deployment: str, how: tuple[str, ...]
) -> None:
    """By force, nobody waits for its end: the object is gone at once, and kubelet ends the processes afterwards."""
    release.kubectl.run("delete", "pod", release.pods(selector)[0], *how)
    release.kubectl.rolled_out(f"deployment/{deployment}")
    load.more()
