"""docs/how-to/compose.md, followed from its first command to its last, in a copy of the checkout without a .env."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.compose import SECRETS, UP, Project
from tests.support.docker import ROOT, Engine
from tests.support.reader import Reader

BUILD = 1800
"""Seconds in which the images must be built; COMPILE=false needs far fewer."""
pytestmark = pytest.mark.timeout(2 * BUILD)

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".env", ".headgate", "build", "__pycache__", ".*_cache", ".hypothesis"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "headgate"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED, symlinks=True)
    return folder


@pytest.fixture
def project(docker: Engine, compose: tuple[str, ...], copy: Path) -> Project:
    """A project of its own, with images of its own: `--build` builds them."""
    if (base := os.environ.get("HEADGATE_TEST_BASE")) is None:
        pytest.skip("HEADGATE_TEST_BASE names no image with Python to build from")
    images = {
        f"{name}_IMAGE": f"{docker.prefix}-page-{name.lower()}" for name in ("GATEWAY", "CONTROLPLANE", "SDK")
    }
    return Project(docker, compose, images | {"BASE": base, "REDIS_TIMEOUT": "2"}, folder=copy)


def test_from_nothing_to_a_guarded_service(project: Project) -> None:
    ports = (("8000", "GATEWAY_PORT"), ("9090", "PROMETHEUS_PORT"))
    replaced = {f"localhost:{port}": f"localhost:{project.ports[name]}" for port, name in ports}
    reader = Reader(project.folder, project.environment | {"NO_PROXY": "*"}, replaced, patience=2 * UP)
    # There is no .env yet.
    prepared = replace(project, variables={**project.variables, **dict.fromkeys(SECRETS, "unused")})
    # The compiler needs longer than a reader waits; `up --build` finds everything built.
    prepared("--profile", "tools", "build", timeout=BUILD)
    try:
        reader.follow(project.folder / "docs" / "how-to" / "compose.md")
        assert not project.containers()
    finally:
        prepared.down()


def test_ten_commands_are_enough() -> None:
    """Up to the first answer through a guarded route."""
    start = (ROOT / "docs" / "how-to" / "compose.md").read_text().partition("for i in 1")[0]
    shell = "".join(re.findall(r"^```bash\n(.*?)^```$", start, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    commands = [line for line in shell.splitlines() if line.strip()]
    assert len(commands) < 10, commands
