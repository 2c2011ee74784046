"""The version stands in the file VERSION alone; where a format asks for the figure itself, it is the same."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()


@pytest.mark.parametrize("folder", ["proto", "controlplane", "dataplane", "sdk"])
def test_a_distribution_takes_its_version_from_the_file(folder: str) -> None:
    described = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    assert "version" not in described["project"]
    assert (ROOT / folder / described["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "VERSION"
    assert metadata.version(described["project"]["name"]) == VERSION


def test_the_chart_deploys_this_version() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "headgate" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
