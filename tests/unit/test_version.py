"""The version stands in the file VERSION alone; where a format asks for the figure itself, it is the same."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()
FOLDERS = ["proto", "controlplane", "dataplane", "sdk"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_takes_its_version_from_the_file(folder: str) -> None:
    described = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    assert "version" not in described["project"]
    assert (ROOT / folder / described["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "VERSION"
    assert metadata.version(described["project"]["name"]) == VERSION


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_needs_this_version_of_the_others(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    needed = [line for line in project["dependencies"] if line.startswith("headgate")]
    assert needed == ([] if folder == "proto" else [f"headgate-api=={VERSION}"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_brings_the_licence(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / folder / "LICENSE").resolve() == ROOT / "LICENSE"


def test_the_chart_deploys_this_version() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "headgate" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
