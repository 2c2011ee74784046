"""The part of Helm's command line that the documentation uses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")

from tests.support.kubernetes import helm


def test_values_of_files_and_settings(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("etcd: {enabled: false, replicas: 5}\n")
    found = helm.values([str(file)], ["etcd.enabled=true", "image.registry=r.example.org"])
    assert found == {"etcd": {"enabled": True, "replicas": 5}, "image": {"registry": "r.example.org"}}


def test_durations() -> None:
    assert (helm.seconds("90s"), helm.seconds("5m")) == (90, 300)


def test_unknown_options_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        helm.parser().parse_args(["install", "gate", "chart", "--atomic"])
    assert "--atomic" in capsys.readouterr().err


def test_the_program_runs_anywhere(tmp_path: Path) -> None:
    path = helm.path_of_commands(tmp_path / "bin")
    assert path.endswith(str(tmp_path / "bin"))
    help_text = subprocess.run(
        [tmp_path / "bin" / "helm", "upgrade", "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "--reset-then-reuse-values" in help_text.stdout
