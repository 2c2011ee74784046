"""Runs the commands of the documentation, page by page and in their order, against a demo: `make snippets`.

Each line runs in a shell of its own, and must succeed. `tests.support.doc_lines` says which lines these are. After each
page the demo is led back to its configuration. README's picture is drawn again and compared, too.
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
from tests.support.doc_lines import pages, prepared, write_files
from tests.support.pages import ROOT
from tests.support.picture import TARGET, draw, timeless

PATIENCE = 300
"""Seconds that one command may take; only one that hangs needs them."""
RESTORE = """\
headgate login --demo
headgate drain orders orders-1 --undo
headgate rollback --to {base} --wait || true
"""
"""Done after each page; a rollback that has nothing to do is refused."""


class Shell:
    """Runs commands in a folder whose .headgate is the demo's, logged in."""

    def __init__(self, world: World, home: Path) -> None:
        self._world, self._home = world, home
        (home / ".headgate").symlink_to(world.folder)
        (home / ".venv").symlink_to(Path(sys.executable).parents[1])
        (home / "examples").symlink_to(ROOT / "examples")
        write_files(home)
        first, second = world.dataplanes[:2]
        self._ports = {
            "8000": first.port,
            "8001": first.status_port,
            "8010": second.port,
            "8080": world.controlplane.admin_port,
        }
        with world.controlplane.admin() as admin:
            token = admin.headers["Authorization"].removeprefix("Bearer ")
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith("HEADGATE_")
        }
        self._environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(home / "settings"),
            "NO_PROXY": "*",
            "PASSWORD": world.controlplane.secrets.admin_password,
            "TOKEN": token,
            "ADMIN_TOKEN": token,
        }

    def revision(self) -> int:
        """The revision of the last change."""
        with self._world.controlplane.admin() as admin:
            return int(admin.get("/api/v1/history?limit=1").raise_for_status().json()[0]["revision"])

    def run(self, text: str) -> str:
        """Run it with the demo's ports; return what went wrong, or nothing."""
        for default, port in self._ports.items():
            text = re.sub(rf"\b(localhost|127\.0\.0\.1):{default}\b", rf"\1:{port}", text)
        # A refusal is an answer, too, but no success.
        script = 'curl() { command curl --fail-with-body --silent --show-error "$@"; }\n' + text
        done = subprocess.run(
            # It ends what the command has started, too.
            ["timeout", "--kill-after=5", str(PATIENCE), "bash", "-euo", "pipefail", "-c", script],
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return "" if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout}{done.stderr}"

    def must(self, text: str) -> None:
        if wrong := self.run(text):
            raise SystemExit(f"{text}\n{wrong}")


def results(shell: Shell) -> Iterator[tuple[str, str]]:
    """What was run, with its place, and what went wrong."""
    shell.must("headgate login --demo && headgate apply -f assumed.yaml --wait")
    base = shell.revision()
    for _, found in pages():
        for place, text in found:
            first = text.strip().splitlines()[0]
            yield f"{place}  {first}", shell.run(prepared(text, base, shell.revision()))
            if text == "headgate logout":
                shell.must("headgate login --demo")
        shell.must(RESTORE.format(base=base))


def main() -> int:
    """Run everything; return 1 where something failed."""
    failed = count = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        running(make_world(Path(folder) / "demo", [free_port() for _ in range(8)])) as world,
    ):
        if timeless(draw(world)) != timeless(TARGET.read_text()):
            failed += 1
            sys.stdout.write("FAILED  the picture is of another version: python -m tests.support.picture\n")
        home = Path(folder) / "home"
        home.mkdir()
        for told, wrong in results(Shell(world, home)):
            count += 1
            failed += bool(wrong)
            sys.stdout.write(f"{'FAILED' if wrong else 'ok'}  {told}\n{wrong}")
            sys.stdout.flush()
    sys.stdout.write(f"{count} run, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
