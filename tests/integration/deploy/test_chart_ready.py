"""`helm test` of the chart: its program against real planes, and the pod that runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from demo.processes import ControlPlane, DataPlane, Process
from tests.integration.controlplane.conftest import log_in, own_etcd, plane, start
from tests.support.chart import CHART, NEEDED, problems, render
from tests.support.plain_module import load

__all__ = ["own_etcd", "plane", "start"]

SCRIPT = CHART / "files" / "ready.py"


@pytest.fixture
def ready() -> ModuleType:
    """The program, as a module."""
    return load(SCRIPT)


def test_the_pod_asks_both_planes_at_their_services() -> None:
    for values, gateway in (
        ({}, "http://demo-headgate-dataplane:80"),
        (
            {"http": {"enabled": False}, "tls": {"enabled": True, "secrets": ["a"]}},
            "https://demo-headgate-dataplane:443",
        ),
    ):
        objects = render({**NEEDED, "dataplane": values})
        pod = objects["Pod/demo-headgate-test"]
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        (container,) = pod["spec"]["containers"]
        assert container["command"] == [
            "python3",
            "-I",
            "/scripts/ready.py",
            "http://demo-headgate-controlplane:8080",
            gateway,
        ]
        assert objects["ConfigMap/demo-headgate-test"]["data"]["ready.py"] == SCRIPT.read_text()
        assert not list(problems(objects))


def test_it_ends_when_every_data_plane_serves_what_is_published(
    plane: ControlPlane, start: Callable[..., Process], tmp_path: Path
) -> None:
    start(plane)
    gateway = DataPlane(plane.grpc, plane.secrets)
    process = gateway.start(tmp_path / "gateway")
    try:
        with httpx.Client(base_url=plane.url, timeout=10, trust_env=False) as client:
            log_in(client, plane)
            client.post("/api/v1/apply", json={"scopes": [{"name": "new"}]}).raise_for_status()
        done = subprocess.run(
            [sys.executable, "-I", str(SCRIPT), plane.url, gateway.url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        process.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 data planes serve revision" in done.stdout


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ("", "no data plane is connected"),
        ('headgate_controlplane_dataplane_acked_revision{node="a"} 6.0\n', "a serves 6"),
    ],
    ids=["none", "behind"],
)
def test_it_says_what_is_missing(
    ready: ModuleType, monkeypatch: pytest.MonkeyPatch, metrics: str, reason: str
) -> None:
    published = "headgate_controlplane_published_revision 7.0\n"
    monkeypatch.setattr(ready, "get", lambda url: published + metrics)
    with pytest.raises(ready.NotYet, match=reason):
        ready.check("http://admin", "http://gateway")


def test_it_gives_up_after_a_while(
    ready: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(url: str) -> Any:
        raise ConnectionRefusedError(url)

    monkeypatch.setattr(ready, "get", refused)
    monkeypatch.setattr(ready, "WITHIN", -1.0)
    assert ready.main("http://admin", "http://gateway") == 1
    assert "not ready after" in capsys.readouterr().out
