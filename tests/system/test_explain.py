"""Explanations and taps of a whole gateway: real data planes, a real control plane, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.processes import DataPlane
from demo.world import World
from tests.support.waiting import eventually_now

TAPPED = "requests are tapped"


def explain(world: World, **asked: Any) -> httpx.Response:
    with world.controlplane.admin() as admin:
        return admin.post("/api/v1/explain", json=asked, timeout=30)


def explained(world: World, url: str, **asked: Any) -> Any:
    return explain(world, url=url, **asked).raise_for_status().json()


def login(world: World) -> str:
    form = {"grant_type": "password", "username": "testuser", "password": "testpass"}
    answer = httpx.post(f"{world.gateway}/api/v1/auth/token", data=form, trust_env=False, timeout=10)
    return str(answer.raise_for_status().json()["access_token"])


@contextmanager
def frozen(world: World, plane: DataPlane) -> Iterator[None]:
    """The supervisor of a data plane stands still within the block."""
    process = world.processes[plane.name]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_an_explanation_is_what_the_gateway_then_does(world: World) -> None:
    token, plane = login(world), world.dataplanes[0]
    for path, headers in (
        ("/orders", {"Authorization": f"Bearer {token}"}),
        ("/payments", {"Authorization": f"Bearer {token}"}),
        ("/orders", {}),
        ("/public/menu", {}),
        ("/none", {}),
    ):
        found = explained(world, plane.url + path, headers=headers, dataplane=plane.name)
        answer = httpx.get(plane.url + path, headers=headers, trust_env=False, timeout=10)
        assert found["status"] == (None if answer.status_code == 200 else answer.status_code), (path, found)
    assert token not in json.dumps(found)


def test_explaining_takes_no_tokens(world: World) -> None:
    for _ in range(15):
        found = explained(world, "/public/x", client="198.51.100.1")
        assert found["status"] is None
    limits = next(one["details"]["limits"] for one in found["steps"] if one["stage"] == "early_limits")
    assert {one["name"]: one["remaining"] for one in limits}["public"] == 10.0


def test_an_earlier_revision(world: World) -> None:
    with world.controlplane.admin() as admin:
        before = admin.get("/api/v1/history?limit=1").raise_for_status().json()[0]["revision"]
        route = {"name": "later", "prefix": "/later", "service_name": "orders", "public": True}
        applied = admin.post("/api/v1/apply?wait=20", json={"routes": [route]}).raise_for_status().json()
        assert explained(world, "/later")["status"] is None
        then = explained(world, "/later", at=before)
        assert (then["status"], then["revision"]) == (404, before)
        assert explained(world, "/later", at=applied["revision"])["status"] is None
        assert explain(world, url="/later", at=10**9).status_code == 404
        admin.delete("/api/v1/routes/later").raise_for_status()


def test_oversized_headers(world: World) -> None:
    found = explained(world, "/orders", headers={"X": "y" * 70_000})
    assert found["status"] == 431 and found["steps"][0]["outcome"] == "refused"


def test_a_tap_and_its_trace_in_the_log(world: World, tmp_path: Path) -> None:
    (tmp_path / ".headgate").symlink_to(world.folder)
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    command = [sys.executable, "-m", "headgate.cli"]
    subprocess.run([*command, "login", "--demo"], cwd=tmp_path, env=environment, check=True, timeout=30)
    log = world.processes[world.controlplane.name].log
    tapping = subprocess.Popen(
        [*command, "tap", "--route", "public", "--status", "2xx", "-n", "2", "--for", "60", "-o", "json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert eventually_now(lambda: TAPPED in log.read_text(), within=60)

        def asked() -> bool:
            for plane in world.dataplanes:
                headers = {"Cookie": "c=s3cret", "X-Seen": plane.name}
                httpx.get(f"{plane.url}/public/m?token=s3cret&page=2", headers=headers, trust_env=False)
                httpx.get(f"{plane.url}/none", trust_env=False)
            return tapping.poll() is not None

        assert eventually_now(asked, within=60)
        shown = [json.loads(line) for line in (tapping.communicate(timeout=30)[0]).splitlines()]
    finally:
        tapping.kill()
    assert len(shown) == 2 and tapping.returncode == 0
    for request in shown:
        assert (request["status"], request["route"], request["query"]) == (200, "public", "token=***&page=2")
        assert request["headers"]["cookie"] == "***" and request["headers"]["x-seen"] == request["dataplane"]
    lines = [json.loads(line) for line in log.read_text().splitlines() if "tapped" in line]
    assert {line["author"] for line in lines} == {world.controlplane.secrets.admin_username}
    assert "s3cret" not in log.read_text()


@pytest.mark.timeout(120)
def test_a_frozen_data_plane_is_named(world: World) -> None:
    plane = world.dataplanes[1]
    with frozen(world, plane):
        answer = explain(world, url="/orders", dataplane=plane.name)
    assert answer.status_code in (503, 504), "it has not answered in time, or counts as gone by then"
    assert plane.name in answer.json()["detail"]
    assert explain(world, url="/orders", dataplane="nobody").status_code == 404

    def answers() -> bool:
        return explain(world, url="/orders", dataplane=plane.name).status_code == 200

    assert eventually_now(answers, within=60)
