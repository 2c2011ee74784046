"""The chart and the planes of an earlier commit are upgraded to these under load, and rolled back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.conftest import new_namespace
from tests.support.kubernetes import older
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.load import Load
from tests.support.kubernetes.release import Release, of_plane

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def older_tag() -> str:
    """The tag of the images of the earlier commit."""
    tag = os.environ.get("OLDER_TAG")
    if not tag:
        pytest.skip("OLDER_TAG names no images of an earlier commit")
    return tag


@pytest.fixture(scope="module")
def release(
    cluster: Kubectl, images: Images, older_tag: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """With the chart and the planes of the earlier commit; the service has the SDK of this one."""
    folder = tmp_path_factory.mktemp("older")
    if not older.export(folder, "charts/headgate"):
        pytest.skip(f"the repository has no commit {older.revision()}")
    with new_namespace(cluster) as kubectl:
        release = Release(kubectl, images)
        release.install(Path(folder, "charts", "headgate"), older_tag)
        yield release


def test_upgrade_and_rollback(release: Release, load: Load, older_tag: str, images: Images) -> None:
    assert tags(release) == {older_tag}
    release.upgrade()
    assert tags(release) == {images.tag}
    load.more()
    release.rollback()
    assert tags(release) == {older_tag}
    load.more()


def tags(release: Release) -> set[str]:
    """Tags of the images of both planes' pods that do not end."""
    pods = [*release.kubectl.list("pods", of_plane("dataplane"))]
    pods += release.kubectl.list("pods", of_plane("controlplane"))
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {
        container["image"].rpartition(":")[2] for pod in running for container in pod["spec"]["containers"]
    }
