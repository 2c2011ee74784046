"""README is short and names what was tried; the contributing guide lists every target of the Makefile."""

from __future__ import annotations

import re
import tomllib

from tests.support.pages import ROOT

README = (ROOT / "README.md").read_text()
SCREEN = 50
"""Lines of a screen."""
OF_USERS = {"help", "demo", "secrets"}
"""Targets that are not for contributors."""


def test_readme_takes_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= SCREEN * 3 / 2
    assert "](docs/assets/terminal.svg)" in README


def test_readme_names_the_versions_of_the_classifiers() -> None:
    project = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert sorted(set(re.findall(r"\b3\.\d+\b", README))) == sorted(classifiers)


def test_the_contributing_guide_lists_every_target() -> None:
    listed = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    guide = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    named = {*re.findall(r"make ([a-z-]+)", guide), *re.findall(r"; ([a-z-]+):", guide)}
    assert set(listed) - OF_USERS - named == set()
