"""Runs a page of docs/tutorial as a reader would: writes its files, runs its commands, and compares their output.

| fence | action |
|---|---|
| `python`, `yaml`, beginning with `# name` | the file is written |
| `bash` | is run by bash, must succeed, and passes on what it exports |
| `bash server` | is started, and keeps running |
| `bash stop` | the last server gets SIGTERM, and must end |
| `text` | the output of the previous block: every line, with "…" for any text |

Other fences are not run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import Process, start
from tests.support.waiting import eventually_now

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (\S+\.\w+)\n")
PATIENCE = 180.0
"""Seconds for one command, unless others are given; only a failing test needs them."""


@dataclass
class Reader:
    """Follows pages in its own folder."""

    folder: Path
    environment: dict[str, str]
    replaced: Mapping[str, str]
    """Texts of the pages, and their values here: ports."""
    printed: str = ""
    servers: list[Process] = field(default_factory=list)
    patience: float = PATIENCE
    """Seconds for one command."""

    def follow(self, page: Path) -> None:
        """Run the page."""
        for kind, text in _FENCE.findall(page.read_text()):
            self.step(kind.strip(), self.here(text))

    def step(self, kind: str, text: str) -> None:
        match kind:
            case "python" | "yaml":
                named = _NAME.match(text)
                assert named, f"no name: {text}"
                (self.folder / named[1]).write_text(text)
            case "bash":
                self.run(text)
            case "bash server":
                number = len(list(self.folder.glob("server-*.log")))
                command = ["bash", "-c", f"exec {text}"]
                self.servers.append(start(f"server-{number}", command, self.environment, self.folder))
            case "bash stop":
                self.stop()
            case "text":
                self.expect(text)

    def run(self, text: str) -> None:
        exported = self.folder / "exported"
        script = f"{text}\nenv -0 > {shlex.quote(str(exported))}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=self.patience,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self.printed = done.stdout
        lines = exported.read_text().split("\0")
        self.environment = dict(line.split("=", 1) for line in lines if line)

    def stop(self) -> None:
        server = self.servers.pop()
        server.popen.terminate()
        server.popen.wait(self.patience)
        self.printed = server.log.read_text()
        server.stop()

    def expect(self, text: str) -> None:
        for line in text.splitlines():
            wanted = re.compile(".*".join(map(re.escape, line.split("…"))))
            # A running server may print it later.
            eventually_now(lambda wanted=wanted: self.seen(wanted), within=self.patience)  # type: ignore[misc]

    def seen(self, wanted: re.Pattern[str]) -> bool:
        found = wanted.search(self.printed) or any(
            wanted.search(server.log.read_text()) for server in self.servers
        )
        assert found, f"{wanted.pattern!r} is not in:\n{self.printed}"
        return True

    def here(self, text: str) -> str:
        for there, here in self.replaced.items():
            text = text.replace(there, here)
        return text

    def close(self) -> None:
        """End what still runs."""
        while self.servers:
            self.servers.pop().stop()
