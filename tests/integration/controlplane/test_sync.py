"""sync and export against control planes on real etcds: what is removed from files is removed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from demo.ports import free_port
from demo.processes import ControlPlane, Secrets
from headgate.cli.app import app
from tests.integration.controlplane.conftest import Start, log_in
from tests.support.etcd import Etcd

Headgate = Callable[..., Result]
LABEL = ("--label", "team=shop")
SHOP = """
services:
  - service_name: shop
    check_interval: ${INTERVAL:-10}
    labels: {team: shop}
routes:
  - {name: shop, prefix: /shop, service_name: shop, public: true, labels: {team: shop}}
  - {name: old, prefix: /old, service_name: shop, public: true, labels: {team: shop}}
"""
OTHERS = {"services": [{"service_name": "other", "labels": {"team": "other"}}]}
MANY = 200
"""More resources than one transaction of etcd takes."""


def runner(plane: ControlPlane, client: httpx.Client) -> Headgate:
    """The command, in this process."""
    token = client.headers["Authorization"].removeprefix("Bearer ")
    there = {"HEADGATE_URL": plane.url, "HEADGATE_TOKEN": token}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=there)

    return run


def on_a_terminal(plane: ControlPlane, client: httpx.Client, answer: bytes, *arguments: str) -> str:
    """The output of the command as a process, with an answer typed in."""
    token = client.headers["Authorization"].removeprefix("Bearer ")
    there = {**os.environ, "HEADGATE_URL": plane.url, "HEADGATE_TOKEN": token}
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    command = [sys.executable, "-m", "headgate.cli", *arguments]
    done = subprocess.run(command, env=there, stdin=theirs, text=True, capture_output=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def headgate(
    plane: ControlPlane,
    start: Start,
    client: httpx.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Headgate:
    for name in [name for name in os.environ if name.startswith("HEADGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("INTERVAL", "7")
    monkeypatch.chdir(tmp_path)
    start(plane)
    log_in(client, plane)
    client.post("/api/v1/apply", json=OTHERS).raise_for_status()
    (tmp_path / "config/below").mkdir(parents=True)
    return runner(plane, client)


def names(client: httpx.Client, kind: str) -> set[str]:
    return {one.get("name") or one["service_name"] for one in client.get(f"/api/v1/config/{kind}").json()}


def test_sync(headgate: Headgate, plane: ControlPlane, client: httpx.Client, tmp_path: Path) -> None:
    file, many = tmp_path / "config/below/shop.yaml", tmp_path / "config/many.json"
    file.write_text(SHOP)
    scopes = [{"name": f"s{number}", "labels": {"team": "shop"}} for number in range(MANY)]
    many.write_text(json.dumps({"scopes": scopes}))
    done = headgate("sync", "-f", "config", *LABEL, "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"Plan: {MANY + 3} to create\nSynced at revision " in done.stdout
    assert client.get("/api/v1/config/services/shop").json()["check_interval"] == 7

    # Gone from the files, gone from the store: in one change, of several transactions.
    many.unlink()
    file.write_text(SHOP.replace("/shop", "/new").rpartition("  - {name: old")[0])
    built_in = names(client, "scopes") - {one["name"] for one in scopes}
    dry = headgate("sync", "-f", "config", *LABEL, "--dry-run")
    assert "    prefix: '/shop' -> '/new'\n" in dry.stdout
    assert "- route old\n" in dry.stdout
    assert dry.stdout.endswith(
        f"Plan: 1 to update, {MANY + 1} to delete, 1 unchanged\nDry run, nothing was changed\n"
    )
    assert "old" in names(client, "routes")
    assert headgate("diff", "-f", "config", "--prune", *LABEL).exit_code == 1

    # Somebody is asked, on a terminal.
    told = on_a_terminal(plane, client, b"y\n", "sync", "-f", "config", *LABEL)
    assert f"Make {MANY + 2} changes ({MANY + 1} deletions)? [y/N]: " in told
    assert names(client, "routes") == {"shop", "headgate-api"}
    assert names(client, "services") == {"shop", "other", "controlplane"}
    assert names(client, "scopes") == built_in
    (last,) = client.get("/api/v1/history?limit=1").json()
    assert len(last["changes"]) == MANY + 2

    assert headgate("diff", "-f", "config", "--prune", *LABEL).exit_code == 0
    again = json.loads(headgate("sync", "-f", "config", *LABEL, "--yes", "-o", "json").stdout)
    assert again["revision"] == last["revision"]

    # Mistakes change nothing: an empty folder, no selection, nobody to ask.
    file.unlink()
    assert headgate("sync", "-f", "config", *LABEL, "--yes").exit_code == 1
    assert headgate("sync", "-f", "config", "--yes", "--allow-empty").exit_code == 2
    assert headgate("sync", "-f", "config", *LABEL, "--allow-empty").exit_code == 2
    assert names(client, "routes") == {"shop", "headgate-api"}
    assert headgate("sync", "-f", "config", *LABEL, "--yes", "--allow-empty").exit_code == 0
    assert names(client, "services") == {"other", "controlplane"}


def test_an_export_makes_the_same_configuration_in_an_empty_store(
    headgate: Headgate, client: httpx.Client, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    assert headgate("apply", "-f", "shop.yaml").exit_code == 0
    exported = headgate("export")
    assert exported.exit_code == 0, exported.stderr
    (tmp_path / "export.yaml").write_text(exported.stdout)
    same = headgate("sync", "-f", "export.yaml", "--all", "--yes")
    assert "In sync at revision " in same.stdout, same.stderr

    with Etcd(tmp_path / "second") as empty:
        second = ControlPlane(
            empty.url, Secrets(), name="second", admin_port=free_port(), grpc_port=free_port()
        )
        process = start(second)
        try:
            with second.admin() as admin:
                there = runner(second, admin)
                done = there("sync", "-f", "export.yaml", "--all", "--yes")
                assert done.exit_code == 0, done.stderr
                assert there("export").stdout == exported.stdout
        finally:
            process.stop()
