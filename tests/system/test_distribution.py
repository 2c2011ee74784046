"""Waiting for real data planes, and the past of a real store, by the command line. The last test ends an instance."""

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

from demo.processes import DataPlane
from demo.world import World
from tests.support.waiting import eventually_now

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def headgate(world: World, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command, logged in."""
    tmp_path = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headgate.cli", *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, input=stdin, text=True, capture_output=True, timeout=60
        )

    secrets = world.controlplane.secrets
    login = run(
        *("login", world.controlplane.url, "-u", secrets.admin_username, "--password-stdin"),
        stdin=secrets.admin_password,
    )
    assert login.returncode == 0, login.stderr
    return run


def route(name: str, prefix: str = "") -> str:
    fields = {"name": name, "prefix": prefix or f"/{name}", "service_name": "orders", "public": True}
    return json.dumps({"routes": [fields]})


def serves(plane: DataPlane, path: str) -> bool:
    return httpx.get(plane.url + path, trust_env=False, timeout=5).status_code != 404


def apply(headgate: Run, document: str, *options: str) -> Any:
    done = headgate("apply", "-f", "-", "-o", "json", *options, stdin=document)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_when_apply_returns_every_data_plane_serves_it(world: World, headgate: Run) -> None:
    for number in range(5):
        receipt = apply(headgate, route(f"waited{number}"), "--wait")
        assert all(serves(plane, f"/waited{number}") for plane in world.dataplanes)
        assert receipt["state"] == "served"
        assert {node["node"] for node in receipt["nodes"]} == {plane.name for plane in world.dataplanes}


def test_a_frozen_data_plane_is_named(world: World, headgate: Run) -> None:
    first, second = world.dataplanes
    world.processes[second.name].signal(signal.SIGSTOP)
    try:
        late = headgate("apply", "-f", "-", "--wait", "--timeout", "1", stdin=route("late"))
        assert late.returncode == 3
        assert late.stdout.splitlines()[-1].startswith("Applied at revision")
        (line,) = late.stderr.splitlines()
        assert "is written, but only 1 of 2 data planes serve it" in line
        assert f"{second.name} (serves revision" in line
        assert apply(headgate, route("late"), "--wait", "--quorum", "50%")["state"] == "served"
        assert serves(first, "/late")
    finally:
        world.processes[second.name].signal(signal.SIGCONT)
    assert apply(headgate, route("late"), "--wait")["serving"] == 2
    assert serves(second, "/late")


def test_back_to_what_was_before_a_compaction(world: World, headgate: Run) -> None:
    first = apply(headgate, route("kept"))["revision"]
    apply(headgate, route("kept", "/moved"))
    assert headgate("delete", "route", "kept").returncode == 0
    last = apply(headgate, route("mistake"), "--wait")["revision"]
    compact(world, last)

    shown = json.loads(headgate("history", "-n", "4", "-o", "json").stdout)
    assert [record["changes"][0]["action"] for record in shown] == ["create", "delete", "update", "create"]
    assert shown[-1]["revision"] == first
    difference = headgate("diff", str(first), str(last)).stdout
    assert "- route kept" in difference
    assert "+ route mistake" in difference

    back = headgate("rollback", "--to", str(first), "--wait")
    assert back.returncode == 0, back.stderr
    assert "Rolled back at revision" in back.stdout
    for plane in world.dataplanes:
        assert serves(plane, "/kept")
        assert not serves(plane, "/moved")
        assert not serves(plane, "/mistake")


def compact(world: World, revision: int) -> None:
    """Make etcd forget everything before this revision."""
    body = {"revision": str(revision), "physical": True}
    httpx.post(f"{world.etcd.url}/v3/kv/compaction", json=body, trust_env=False).raise_for_status()


def test_a_rejection_ends_the_wait_at_once(world: World, headgate: Run) -> None:
    most = str(len(json.loads(headgate("get", "routes", "-o", "json").stdout)) + 2)
    small = DataPlane(
        world.controlplane.grpc, world.controlplane.secrets, "small", settings={"MAX_ROUTES": most}
    )
    world.processes["small"] = small.start(world.folder / "run")
    document = {"routes": [json.loads(route(f"r{number}"))["routes"][0] for number in range(8)]}
    refused = headgate("apply", "-f", "-", "--wait", "--timeout", "50", stdin=json.dumps(document))
    assert refused.returncode == 3
    assert "small (serves revision" in refused.stderr
    assert f"exceeds MAX_ROUTES {most}" in refused.stderr
    assert serves(world.dataplanes[0], "/r7")
    world.processes.pop("small").stop()


def test_drain_in_a_pod(world: World, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HEADGATE_CONTROLPLANE": world.controlplane.grpc,
        "HEADGATE_TOKEN": world.controlplane.secrets.service_token,
    }
    command = [sys.executable, "-m", "headgate.cli", "drain", "orders", "orders-1"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "Instance orders/orders-1 is drained\n"), done.stderr
    world.processes["orders-1"].kill()

    def only_the_other() -> bool:
        answer = httpx.get(f"{world.controlplane.url}/api/v1/services/orders", trust_env=False).json()
        return bool(answer["instances"]["orders-1"]["status"] == "draining")

    eventually_now(only_the_other)
    url = f"{world.dataplanes[0].url}/public"
    for _ in range(10):
        assert httpx.get(url, trust_env=False, timeout=5).json()["instance"] == "orders-2"
