"""A running docker-compose.yml gets more replicas, loses power, and is removed and made again."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest

from tests.support import compose_stage as stage
from tests.support.compose import UP, Project
from tests.support.waiting import eventually_now

# The first test of a run starts the project.
pytestmark = pytest.mark.timeout(900)

WORST_ORDER = ("loadbalancer", "gateway", "controlplane", "prometheus", "redis", "etcd", "orders")


def serves(project: Project) -> bool:
    return httpx.get(f"{project.gateway}/open/again", trust_env=False, timeout=10).status_code == 200


def scaled(project: Project, service: str, number: int) -> list[str]:
    """The containers of a service after `up --scale`, all healthy."""
    project.up("--no-build", "--scale", f"{service}={number}")
    return project.containers(service)


def test_a_third_gateway_gets_requests(project: Project) -> None:
    before = project.containers("gateway")
    (third,) = set(scaled(project, "gateway", 3)) - set(before)

    def asked() -> bool:
        return serves(project) and "/open/again" in project.docker("logs", third)

    eventually_now(asked)
    eventually_now(lambda: stage.watched(project)["gateway"] == 3, within=60)
    assert len(scaled(project, "gateway", 2)) == 2
    assert all(serves(project) for _ in range(8))


def test_one_control_plane_is_enough(project: Project) -> None:
    assert len(scaled(project, "controlplane", 1)) == 1
    change = {"scopes": [{"name": "after:scale"}]}
    with stage.administrator(project) as admin:
        assert admin.post("/api/v1/apply?wait=30", json=change).status_code == 200
    assert len(scaled(project, "controlplane", 2)) == 2


def test_containers_start_in_any_order(project: Project) -> None:
    """As after a loss of power: Docker starts them itself, and knows nothing of what depends on what."""
    containers = [container for service in WORST_ORDER for container in project.containers(service)]
    project.docker("kill", *containers)
    start_each(project, containers)
    eventually_now(lambda: serves(project))
    change = {"scopes": [{"name": "after:power"}]}
    with stage.administrator(project) as admin:
        assert admin.post("/api/v1/apply?wait=60", json=change).status_code == 200


def start_each(project: Project, containers: Sequence[str]) -> None:
    for container in containers:
        project.docker("start", container)
    eventually_now(lambda: not project.ailing(), within=UP, every=0.2)


def test_configuration_survives_down(project: Project) -> None:
    project("down")
    assert not project.containers()
    project.up("--no-build")
    eventually_now(lambda: serves(project))
    stage.login(project.gateway, "testuser", "testpass")
