"""A distribution names all that it imports. A development environment has more, so a missing name shows only in users'
environments and in images."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "proto": "proto/headgate_api",
    "controlplane": "controlplane",
    "dataplane": "dataplane",
    "sdk": "sdk/headgate",
}
LATER = {"compression"}
"""Modules of later Pythons, which the code imports there only."""
OWN = {"headgate_api", "controlplane", "dataplane", "headgate"}


def imported(package: Path) -> set[str]:
    """The top-level names of the modules that a package imports, without its own and those of Python."""
    found: set[str] = set()
    for path in package.rglob("*.py"):
        if path.name == "hatch_build.py":
            continue  # building has dependencies of its own
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    found.update(each.name.split(".")[0] for each in names)
                case ast.ImportFrom(module=str(module), level=0):
                    found.add(module.split(".")[0])
    return found - OWN - LATER - set(sys.stdlib_module_names)


def needed(folder: str) -> set[str]:
    """The distributions that one requires, those of its extras included, with normalised names."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {normal(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_distribution_needs_what_it_imports(folder: str) -> None:
    providers = metadata.packages_distributions()
    declared = needed(folder)
    missing = {
        module
        for module in imported(ROOT / PACKAGES[folder])
        if not declared & {normal(name) for name in providers.get(module, [module])}
    }
    assert not missing
