"""Which interpreters `make compat` runs on, and that the distributions name no version that it does not try."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.compat import VERSIONS, find

ROOT = Path(__file__).parents[2]


def interpreter(path: Path, version: str, code: int = 0) -> Path:
    """A program that answers as a Python of this version does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")}


def test_the_path_comes_first(tmp_path: Path, environment: dict[str, str]) -> None:
    interpreter(tmp_path / "home/.pyenv/versions/3.12.1/bin/python3.12", "3.12")
    on_path = interpreter(tmp_path / "bin/python3.12", "3.12")
    assert find("3.12", environment) == on_path


def test_one_that_does_not_run_is_passed_over(tmp_path: Path, environment: dict[str, str]) -> None:
    interpreter(tmp_path / "bin/python3.12", "3.12", code=127)
    interpreter(tmp_path / "home/.pyenv/versions/3.12.9/bin/python3.12", "3.11")
    installed = interpreter(tmp_path / "home/.pyenv/versions/3.12.1/bin/python3.12", "3.12")
    assert find("3.12", environment) == installed


def test_one_that_is_not_there_is_not_found(environment: dict[str, str]) -> None:
    assert find("3.14", environment) is None


@pytest.mark.parametrize("folder", ["proto", "controlplane", "dataplane", "sdk"])
def test_classifiers_name_only_what_is_tried(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in project["classifiers"] if line.startswith(prefix)]
    assert named
    assert set(named) <= set(VERSIONS)
