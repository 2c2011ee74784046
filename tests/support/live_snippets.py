"""Runs the commands of the documentation that only look, against the demo: `make snippets`.

Every line of a shell block that reads through `headgate` or `curl` is run in a shell of its own, and must succeed; so
must the block of README about the demo as a whole. The others change something or need programs of others:
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
"""Lines that change nothing and end by themselves."""
ASSUMED = """\
rate_limits:
  - {name: callers, per_second: 100, burst: 200, key: subject}
"""
"""What the pages' examples name and the demo does not have."""
PATIENCE = 120.0
"""Seconds that one command may take; only one that hangs needs them."""


def commands() -> Iterator[tuple[str, str]]:
    """Place and text of everything that is run: lines, in README whole blocks."""
    for page in all_pages():
        if page.name == "commands.md":
            continue  # made from `--help`, whose examples have names of their own
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
        """Run it with the demo's ports; return what went wrong, or nothing."""
        for default, port in self._ports.items():
            text = re.sub(rf"\b(localhost|127\.0\.0\.1):{default}\b", rf"\1:{port}", text)
        # A refusal is an answer, too, but no success.
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
    """Run everything; return 1 where something failed."""
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
