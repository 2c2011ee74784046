"""Runs the read-only commands of the documentation against the demo: `make snippets`.

Every line of a shell block that reads through `headgate` or `curl` is run in a separate shell, and must succeed. The
block of README about the demo is run as a whole. Other lines change something or need other programs:
`tests.support.snippets` checks those without running them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.ports import free_port
from demo.world import World, make_world, running
from tests.support.pages import ROOT, all_pages, blocks
from tests.support.snippets import without_comment

READS = re.compile(
    r"headgate (get|status|whoami|history|store$|circuits$|reference|limits($| --limit| -))|curl( -[sfi])* http://localhost:"
)
"""Lines that change nothing and terminate."""
ASSUMED = """\
rate_limits:
  - {name: callers, per_second: 100, burst: 200, key: subject}
"""
"""Resources of the pages' examples that the demo lacks."""
PATIENCE = 120.0
"""Seconds for one command; only a command that hangs needs them."""


def commands() -> Iterator[tuple[str, str]]:
    """Place and text of all commands to run: lines, in README whole blocks."""
    for page in all_pages():
        if page.name == "commands.md":
            continue  # generated from `--help`, whose examples have other names
        for block in blocks(page):
            if block.language != "bash":
                continue
            if page.name == "README.md" and "TOKEN=$(curl" in block.text:
                yield block.place, block.text
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                bare = without_comment(line).strip()
                if READS.match(bare) and not re.search(r"[>&$]|--watch|-w\b|--context", bare):
                    yield block.place, bare


class Shell:
    """Runs commands in a folder whose .headgate is the demo's, logged in."""

    def __init__(self, world: World, home: Path) -> None:
        self._home = home
        (home / ".headgate").symlink_to(world.folder)
        (home / ".venv").symlink_to(Path(sys.executable).parents[1])
        (home / "examples").symlink_to(ROOT / "examples")
        first, second = world.dataplanes[:2]
        self._ports = {
            "8000": first.port,
            "8001": first.status_port,
            "8010": second.port,
            "8080": world.controlplane.admin_port,
        }
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith("HEADGATE_")
        }
        self._environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(home / "config"),
            "NO_PROXY": "*",
        }

    def run(self, text: str) -> str:
        """Run it with the demo's ports; returns the error, or an empty text."""
        for default, port in self._ports.items():
            text = re.sub(rf"\b(localhost|127\.0\.0\.1):{default}\b", rf"\1:{port}", text)
        # A refusal is an answer, but not a success.
        script = 'curl() { command curl --fail-with-body --silent --show-error "$@"; }\n' + text
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return "" if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def main() -> int:
    """Run everything; returns 1 if something failed."""
    failed = count = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        running(make_world(Path(folder) / "demo", [free_port() for _ in range(8)])) as world,
    ):
        home = Path(folder) / "home"
        home.mkdir()
        shell = Shell(world, home)
        if wrong := shell.run("headgate login --demo"):
            raise SystemExit(wrong)
        (home / "assumed.yaml").write_text(ASSUMED)
        if wrong := shell.run("headgate apply -f assumed.yaml --wait"):
            raise SystemExit(wrong)
        for place, text in commands():
            count += 1
            wrong = shell.run(text)
            failed += bool(wrong)
            sys.stdout.write(
                f"{'FAILED' if wrong else 'ok'}  {place}  {text.strip().splitlines()[0]}\n{wrong}"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{count} run, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
