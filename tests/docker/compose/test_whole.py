"""What `docker compose up` starts: every part runs, confined, and does its work."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.support import compose_stage as stage
from tests.support.compose import SECRETS, Project
from tests.support.waiting import eventually_now

# The first test of a run builds the images and starts the project.
pytestmark = pytest.mark.timeout(1800)

REPLICAS = {"gateway": 2, "controlplane": 2, "etcd": 1, "redis": 1, "prometheus": 1, "loadbalancer": 1}
SECRETS_OF = {"gateway": {"DATAPLANE_TOKEN"}, "controlplane": set(SECRETS)}


def test_the_containers(project: Project) -> None:
    assert {service: len(project.containers(service)) for service in REPLICAS} == REPLICAS


def test_containers_are_confined(project: Project) -> None:
    for container in (each for service in REPLICAS for each in project.containers(service)):
        host: dict[str, Any] = json.loads(project.inspect(container, "json .HostConfig"))
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0 and host["PidsLimit"] > 0
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        bound = [binding["HostIp"] for ports in (host["PortBindings"] or {}).values() for binding in ports]
        assert set(bound) <= {"127.0.0.1"}


def test_no_container_was_out_of_memory(project: Project) -> None:
    for container in project.containers():
        assert project.inspect(container, ".State.OOMKilled") == "false"


def test_a_container_has_only_the_secrets_that_it_needs(project: Project) -> None:
    for service in REPLICAS:
        for container in project.containers(service):
            shown = project.docker("inspect", container)
            assert {name for name in SECRETS if project.variables[name] in shown} == SECRETS_OF.get(
                service, set()
            )


def test_no_log_has_a_secret(project: Project, testuser: dict[str, Any]) -> None:
    """With DEBUG=true."""
    shown = project("logs")
    assert testuser["headers"]["Authorization"].split()[1] not in shown
    assert not [name for name in SECRETS if project.variables[name] in shown]


def test_a_guarded_route(gateway: httpx.Client, testuser: dict[str, Any]) -> None:
    assert gateway.get("/orders/1").status_code == 401
    answer = gateway.get("/orders/1", **testuser)
    assert (answer.status_code, answer.json()) == (200, {"service": "orders"})


def test_both_gateways_serve_the_same_revision(admin: httpx.Client) -> None:
    def revisions() -> set[int]:
        planes = admin.get("/api/v1/dataplanes").json()
        assert len(planes) == 2, planes
        return {plane["applied_revision"] for plane in planes}

    assert eventually_now(lambda: len(revisions()) == 1)


def test_both_gateways_get_requests(project: Project) -> None:
    for _ in range(8):
        httpx.get(f"{project.gateway}/open/each", trust_env=False).raise_for_status()
    for container in project.containers("gateway"):
        eventually_now(lambda container=container: "/open/each" in project.docker("logs", container))  # type: ignore[misc]


def test_the_log_has_the_clients_address_not_the_balancers(project: Project, gateway: httpx.Client) -> None:
    request_id = gateway.get("/open/mine").headers["X-Request-Id"]
    lines = eventually_now(
        lambda: [line for line in project("logs", "gateway").splitlines() if request_id in line]
    )
    addresses = "range $name, $network := .NetworkSettings.Networks}}{{$network.IPAddress}} {{end"
    balancer = project.inspect(project.containers("loadbalancer")[0], addresses).split()
    assert balancer
    assert not any(f'"{address}"' in line for address in balancer for line in lines)


def test_prometheus_sees_every_replica(project: Project) -> None:
    expected = REPLICAS.copy()
    # It has no metrics of its own.
    del expected["redis"]

    eventually_now(lambda: stage.watched(project) == expected, within=60)


def test_the_limit_of_the_settings_is_counted_in_redis(project: Project, gateway: httpx.Client) -> None:
    def counted() -> int:
        shown = project("exec", "-T", "redis", "redis-cli", "info", "commandstats")
        calls = re.search(r"cmdstat_evalsha:calls=(\d+)", shown)
        return int(calls[1]) if calls else 0

    before = counted()
    for _ in range(4):
        gateway.get("/open/counted").raise_for_status()
    assert counted() >= before + 4


def test_the_command_line(project: Project) -> None:
    tool = ("run", "--rm", "-T", "headgate")
    password = project.variables["ADMIN_PASSWORD"]
    logged_in = project.run(*tool, "login", "-u", "admin", "--password-stdin", stdin=password)
    assert logged_in.returncode == 0, logged_in.stderr
    status = project(*tool, "status", "-o", "json")
    assert "orders" in status
