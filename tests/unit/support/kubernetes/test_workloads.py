"""Programs that run in pods: the service, the one that kills containers, and the metrics API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kubernetes.workloads import kill, metrics

METRICS = """\
# TYPE headgate_requests_in_flight gauge
headgate_requests_in_flight{worker="0"} 3.0
headgate_requests_in_flight{worker="1"} 4.0
headgate_requests_in_flight_limit 100.0
"""


def test_finds_the_processes_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("4:memory:/pods/pod1/c0ffee\n0::/\n")
    assert kill.is_of(tmp_path, ["c0ffee"])
    assert not kill.is_of(tmp_path, ["decaf"])


def test_a_process_that_has_ended_is_of_no_container(tmp_path: Path) -> None:
    assert not kill.is_of(tmp_path / "gone", ["c0ffee"])


def test_kills_them(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    monkeypatch.setattr(kill, "is_of", lambda folder, _: folder.name == str(process.pid))
    assert kill.kill(["c0ffee"]) == 1
    assert process.wait() == -9


def test_adds_up_a_metric() -> None:
    assert metrics.total(METRICS) == 7


def test_the_metrics_api_says_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "measure", lambda *_: iter([("gate-1", 2.5)]))
    (resource,) = metrics.resources()["resources"]
    (item,) = metrics.values("shop", "app=gate")["items"]
    assert resource["name"] == f"pods/{item['metric']['name']}"
    assert item["describedObject"]["name"] == "gate-1"
    assert item["value"] == "2500m"
