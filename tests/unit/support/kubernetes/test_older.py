"""The earlier commit of the test of upgrades."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes import older


def test_writes_the_chart_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPGRADE_FROM", "HEAD")
    if not older.export(tmp_path, "charts/headgate"):
        pytest.skip("there is no repository")
    assert (tmp_path / "charts" / "headgate" / "Chart.yaml").exists()


def test_says_that_there_is_no_such_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPGRADE_FROM", "0" * 40)
    assert not older.export(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_commit_is_a_setting() -> None:
    assert older.revision({}) == older.REVISION
    assert older.revision({"UPGRADE_FROM": "v1"}) == "v1"
