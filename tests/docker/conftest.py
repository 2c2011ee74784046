"""A Docker engine and images for tests of containers; the tests are skipped where there is none.

    HEADGATE_TEST_BASE=python:3.11-slim make docker-test

`HEADGATE_TEST_BASE` names an image with Python and pip, from which the images are built. `HEADGATE_TEST_IMAGES=PREFIX`
tests images that are built already: PREFIX-controlplane, PREFIX-dataplane and PREFIX-sdk, with the version as tag.
`HEADGATE_TEST_BUILD` has further arguments of `docker build`, such as `--network=host`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.docker import Engine, find_engine, versioned

BASE = os.environ.get("HEADGATE_TEST_BASE")
PREBUILT = os.environ.get("HEADGATE_TEST_IMAGES")


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """The engine. What is made with its `labels` or named with its `prefix` is removed at the end."""
    if not (BASE or PREBUILT):
        pytest.skip("HEADGATE_TEST_BASE names no image with Python to build from")
    found = find_engine()
    if isinstance(found, str):
        pytest.skip(f"no Docker engine: {found}")
    yield found
    found.clean_up()


@pytest.fixture(scope="session")
def images(docker: Engine) -> dict[str, str]:
    """The image of each plane and of the SDK, by name: "controlplane", "dataplane", "sdk"."""
    if not PREBUILT:
        docker.build_all(str(BASE))
    return versioned(PREBUILT or docker.prefix)
