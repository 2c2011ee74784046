"""What a container can do that shares the default network, such as a service: it cannot act as the load balancer."""

from __future__ import annotations

import httpx
import pytest

from tests.support.compose import UP, Project
from tests.support.waiting import eventually_now

# The first test of a run starts the project.
pytestmark = pytest.mark.timeout(600)

FORGED = "203.0.113.7"
ASK = """
import socket, sys
address, path, header = sys.argv[1:]
with socket.create_connection((address, 8000), 20) as gateway:
    gateway.sendall(f"{header}GET {path} HTTP/1.1\\r\\nHost: shop\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(gateway.makefile().readline())
"""
"""Sends a request to a gateway's own port, after a PROXY header or without one."""
GUESS = """
import sys, urllib.error, urllib.parse, urllib.request
form = urllib.parse.urlencode({"username": "admin", "password": "guessed"}).encode()
for number in range(12):
    told = {"X-Forwarded-For": f"203.0.113.{number}"}
    request = urllib.request.Request(f"http://{sys.argv[1]}:8080/api/v1/auth/token", form, told)
    try:
        urllib.request.urlopen(request, timeout=90)
    except urllib.error.HTTPError as error:
        print(error.code)
        if error.code == 429:
            break
"""
"""Guesses a password at a control plane's own port, each time as if for another client."""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


def in_orders(project: Project, script: str, *arguments: str) -> str:
    """The output of a Python script in the container of a service."""
    (orders,) = project.containers("orders")
    return project.docker("exec", orders, "python3", "-c", script, *arguments, timeout=UP)


def reaches(project: Project, host: str, port: str) -> bool:
    (orders,) = project.containers("orders")
    return project.docker.run("exec", orders, "python3", "-c", CONNECT, host, port).returncode == 0


def test_a_client_address_in_a_proxy_header_is_not_believed(project: Project) -> None:
    header = f"PROXY TCP4 {FORGED} 203.0.113.8 50000 8000\r\n"
    for gateway in project.containers("gateway"):
        address = project.address(gateway, "default")
        assert "400" in in_orders(project, ASK, address, "/open/forged", header)
        assert "200" in in_orders(project, ASK, address, "/open/unforged", "")
        eventually_now(lambda gateway=gateway: "/open/unforged" in project.docker("logs", gateway))  # type: ignore[misc]
        assert FORGED not in project.docker("logs", gateway)


def test_a_client_address_in_x_forwarded_for_is_not_believed(project: Project) -> None:
    for controlplane in project.containers("controlplane"):
        answers = in_orders(project, GUESS, project.address(controlplane, "default")).split()
        assert "429" in answers, answers


def test_the_balancers_word_is_believed(project: Project, gateway: httpx.Client) -> None:
    """Guesses from another address do not make the administrator wait."""
    assert "429" in in_orders(project, GUESS, "loadbalancer").split()
    form = {"username": "admin", "password": project.variables["ADMIN_PASSWORD"]}
    for base in (project.gateway, project.admin):
        answer = httpx.post(f"{base}/api/v1/auth/token", data=form, timeout=90, trust_env=False)
        assert answer.status_code == 200, answer.text


def test_this_machine_and_the_balancer_are_outside_of_the_range_of_planes(project: Project) -> None:
    network = "{{(index .IPAM.Config 0).Gateway}}"
    name = f"{project.name}_control"
    assert project.docker("network", "inspect", "--format", network, name) == f"{project.network}.1"
    (balancer,) = project.containers("loadbalancer")
    assert project.address(balancer, "control") == f"{project.network}.2"
    planes = [*project.containers("gateway"), *project.containers("controlplane")]
    assert all(int(project.address(each, "control").rpartition(".")[2]) >= 128 for each in planes)


def test_the_network_of_the_planes_is_out_of_reach(project: Project) -> None:
    for service, port in (("gateway", "8000"), ("controlplane", "8080"), ("loadbalancer", "8080")):
        for container in project.containers(service):
            assert reaches(project, project.address(container, "default"), port)
            assert not reaches(project, project.address(container, "control"), port)


def test_stores_are_out_of_reach(project: Project) -> None:
    assert reaches(project, "controlplane", "50051")
    assert not reaches(project, "etcd", "2379")
    assert not reaches(project, "redis", "6379")
