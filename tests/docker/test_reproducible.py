"""Two builds of one commit have the same layers: the same paths, contents, modes, owners and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.conftest import BASE
from tests.support.docker import Engine, versioned
from tests.support.layers import Entry, layers

BUILDERS = "var/lib"
"""A folder that the builder itself touches, when it copies the home of the images' user into it."""
pytestmark = pytest.mark.timeout(3600)


def saved(docker: Engine, image: str, archive: Path) -> list[dict[str, Entry]]:
    docker("image", "save", "--output", str(archive), image, timeout=600)
    return layers(archive)


@pytest.mark.parametrize("name", ["sdk", "controlplane", "dataplane"])
def test_two_builds_have_the_same_layers(docker: Engine, tmp_path: Path, name: str) -> None:
    if not BASE:
        pytest.skip("HEADGATE_TEST_BASE names no image with Python to build from")
    once, again = f"{docker.prefix}-once", f"{docker.prefix}-again"
    # A cached layer may have the times of an earlier commit.
    docker.build_all(BASE, once, "--no-cache", only=[name])
    docker.build_all(BASE, again, "--no-cache", only=[name])
    first = saved(docker, versioned(once)[name], tmp_path / "first.tar")
    second = saved(docker, versioned(again)[name], tmp_path / "second.tar")
    for ours, theirs in zip(first, second, strict=True):
        assert ours.keys() == theirs.keys()
        if BUILDERS in ours:
            ours[BUILDERS] = ours[BUILDERS]._replace(time=theirs[BUILDERS].time)
        assert {path: (entry, theirs[path]) for path, entry in ours.items() if entry != theirs[path]} == {}
