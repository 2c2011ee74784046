"""The `headgate` command, and a service of a stranger's own, against a whole running gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.ports import free_port
from demo.world import World
from tests.support.waiting import eventually_now

ROOT = Path(__file__).resolve().parents[2]
Headgate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def headgate(world: World, tmp_path: Path) -> Headgate:
    """The command as a user has it: a process, in a folder whose .headgate is the demo's."""
    (tmp_path / ".headgate").symlink_to(world.folder)
    hidden = {name for name in os.environ if name.startswith("HEADGATE_")}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headgate.cli", *arguments],
            cwd=tmp_path,
            env=environment,
            input=input,
            text=True,
            capture_output=True,
            timeout=30,
        )

    return run


@pytest.fixture
def operator(headgate: Headgate) -> Headgate:
    done = headgate("login", "--demo")
    assert (done.returncode, done.stderr) == (0, "")
    return headgate


def answer(run: Headgate, *arguments: str) -> Any:
    done = run(*arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_a_login(headgate: Headgate, world: World) -> None:
    done = headgate("--url", world.controlplane.url, "delete", "route", "orders")
    assert done.returncode == 1
    assert (
        done.stderr == f"headgate: not logged in at {world.controlplane.url}: type `headgate login --demo`\n"
    )


def test_status_of_the_demo(operator: Headgate, world: World) -> None:
    done = operator("status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Control plane {world.controlplane.url}")
    for expected in ("gateway-1", "gateway-2", "orders", "2/2", "payments", "1/1"):
        assert expected in done.stdout


def test_the_demos_own_document_changes_nothing(operator: Headgate) -> None:
    done = operator("diff", "--exit-code", "-f", str(ROOT / "examples/demo.yaml"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing would change\n", "")
    done = operator("apply", "--dry-run", "-f", str(ROOT / "examples/demo.yaml"))
    assert done.returncode == 0
    assert "Dry run, nothing was changed" in done.stdout


def test_a_change_reaches_every_data_plane(operator: Headgate, world: World) -> None:
    route = {"name": "cli", "prefix": "/cli", "service_name": "orders", "public": True}
    done = operator("apply", "-f", "-", "-o", "json", input=json.dumps({"routes": [route]}))
    assert done.returncode == 0, done.stderr
    revision = json.loads(done.stdout)["revision"]
    eventually_now(
        lambda: all(node["applied_revision"] >= revision for node in answer(operator, "get", "dataplanes"))
    )
    assert operator("delete", "route", "cli").returncode == 0
    assert operator("get", "route", "cli").returncode == 1


def test_through_the_gateway_as_well(headgate: Headgate, world: World) -> None:
    url = world.dataplanes[0].url
    secrets = world.controlplane.secrets
    done = headgate(
        "login", url, "-u", secrets.admin_username, "--password-stdin", input=secrets.admin_password
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {route["name"] for route in answer(headgate, "get", "routes")} >= {"orders", "headgate-api"}
    assert headgate("status").returncode == 0


def test_circuits(operator: Headgate) -> None:
    assert {circuit["service_name"] for circuit in answer(operator, "circuits")} >= {"orders", "payments"}
    done = operator("circuits", "reset", "payments")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_service(operator: Headgate, world: World) -> None:
    port = free_port()
    environment = os.environ | {
        "HEADGATE_CONTROLPLANE": world.controlplane.grpc,
        "HEADGATE_TOKEN": world.controlplane.secrets.service_token,
    }
    script = ROOT / "examples/register_service.py"
    with subprocess.Popen([sys.executable, str(script), "hello", str(port)], env=environment) as service:
        try:
            eventually_now(lambda: instance_of(operator, "hello"), within=30)
            route = {"name": "hello", "prefix": "/hello", "service_name": "hello", "public": True}
            operator("apply", "-f", "-", input=json.dumps({"routes": [route]}))
            url = f"{world.dataplanes[0].url}/hello"
            found = eventually_now(lambda: is_hello(httpx.get(url, trust_env=False)), within=30)
            assert found
            service.send_signal(signal.SIGTERM)
            assert service.wait(10) == 0
            assert not instance_of(operator, "hello")
        finally:
            service.kill()


def instance_of(run: Headgate, service_name: str) -> list[Any]:
    return [row for row in answer(run, "get", "instances") if row["service_name"] == service_name]


def is_hello(response: httpx.Response) -> bool:
    return response.text == "hello\n"
