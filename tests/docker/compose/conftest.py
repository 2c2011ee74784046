"""One running docker-compose.yml for all tests of this folder, and one that a test starts and stops itself.

Besides the variables of `tests/docker/conftest.py`, COMPOSE names the command, and ETCD_IMAGE, REDIS_IMAGE,
PROMETHEUS_IMAGE and LOADBALANCER_IMAGE the images of others.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import compose_stage as stage
from tests.support.compose import SECRETS, Project, both_names, find_compose
from tests.support.docker import ROOT, Engine

FILES = (ROOT / "docker-compose.yml", Path(__file__).with_name("orders.yml"))


@pytest.fixture(scope="session")
def compose(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The command, with both of its names in PATH."""
    found = find_compose()
    if found is None:
        pytest.skip("neither `docker compose` nor `docker-compose` works")
    with (
        both_names(found, tmp_path_factory.mktemp("path") / "bin") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield found


@pytest.fixture(scope="session")
def variables(images: dict[str, str]) -> dict[str, str]:
    """Secrets and images."""
    named = {"GATEWAY": "dataplane", "CONTROLPLANE": "controlplane", "SDK": "sdk"}
    own = {f"{name}_IMAGE": images[image] for name, image in named.items()}
    return own | {name: secrets.token_urlsafe(32) for name in SECRETS}


@pytest.fixture(scope="session")
def project(docker: Engine, compose: tuple[str, ...], variables: dict[str, str]) -> Iterator[Project]:
    """A running project whose limits are counted in Redis, with the service `orders`."""
    # A busy machine may need longer than 20 ms.
    limits = {"RATE_LIMIT_MODE": "redis", "RATE_LIMIT_BURST": "2000", "REDIS_TIMEOUT": "2"}
    project = Project(
        docker, compose, variables | limits | {"RATE_LIMIT_PER_SECOND": "200", "DEBUG": "true"}, FILES
    )
    try:
        project.up("--no-build")
        # Nothing had to be started twice.
        counts = [project.inspect(container, ".RestartCount") for container in project.containers()]
        assert set(counts) == {"0"}, counts
        stage.prepare(project)
        yield project
    finally:
        project.down()


@pytest.fixture
def gateway(project: Project) -> Iterator[httpx.Client]:
    """What a user reaches at http://localhost:8000."""
    with httpx.Client(base_url=project.gateway, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def admin(project: Project) -> Iterator[httpx.Client]:
    """The admin API, with the first user's rights."""
    with stage.administrator(project) as client:
        yield client


@pytest.fixture
def testuser(project: Project) -> dict[str, Any]:
    """Fields of requests of the guide's user."""
    return stage.login(project.gateway, "testuser", "testpass")
