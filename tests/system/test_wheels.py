"""The wheels of `make dist`, each installed into a clean environment: `make dist-check`.

The four distributions come from the folder of wheels, what they need from the registry that pip is set up with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = os.environ.get("WHEELS")
VERSION = (ROOT / "VERSION").read_text().strip()
NAMES = ("api", "controlplane", "dataplane", "sdk")

# Longer than usual, since what is installed may have to be downloaded first.
pytestmark = [pytest.mark.skipif(not WHEELS, reason="make dist-check"), pytest.mark.timeout(900)]


def wheel(name: str) -> Path:
    """The one wheel of a distribution."""
    (found,) = (ROOT / str(WHEELS)).glob(f"headgate_{name}-*.whl")
    return found


def install(folder: Path, requirement: str) -> Path:
    """Install into a new environment; return its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-compile", "--find-links", str(WHEELS), requirement)
    return folder / "bin"


def run(*argv: str | Path) -> str:
    """Run in the checkout, but without its modules on the path; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Relative: pip splits it at spaces.
    environment |= {"PIP_CONSTRAINT": "constraints.txt", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_has_the_version_and_only_its_own_package(name: str) -> None:
    assert wheel(name).name == f"headgate_{name}-{VERSION}-py3-none-any.whl"
    package = {"api": "headgate_api", "sdk": "headgate"}.get(name, name)
    described = f"headgate_{name}-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel(name)) as archive:
        tops = {member.split("/")[0] for member in archive.namelist()}
        assert f"{package}/py.typed" in archive.namelist()
        assert not [member for member in archive.namelist() if member.endswith(("hatch_build.py", ".pyc"))]
        assert archive.read(f"{described}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert tops == {package, described}


def test_the_command_line_is_installed_from_wheels(tmp_path: Path) -> None:
    programs = install(tmp_path / "environment", "headgate-sdk[cli]")
    assert VERSION in run(programs / "headgate", "--version")
    assert "apply" in run(programs / "headgate", "--help")
    where = run(programs / "python", "-c", "import headgate, headgate.cli; print(headgate.__file__)")
    assert where.startswith(str(tmp_path))


def test_services_need_the_sdk_alone(tmp_path: Path) -> None:
    programs = install(tmp_path / "environment", "headgate-sdk")
    run(programs / "python", "-c", "import headgate; headgate.ServiceDefinition(service_name='orders')")
    find = "import importlib.util; print(importlib.util.find_spec('typer'))"
    assert run(programs / "python", "-c", find).strip() == "None"


@pytest.mark.parametrize("plane", ["controlplane", "dataplane"])
def test_a_plane_is_installed_from_wheels(tmp_path: Path, plane: str) -> None:
    programs = install(tmp_path / "environment", f"headgate-{plane}")
    run(programs / "python", "-c", f"import {plane}.__main__")
    assert (programs / f"headgate-{plane}").is_file()
