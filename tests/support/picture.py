"""Writes docs/assets/terminal.svg, a terminal during the demo: `python -m tests.support.picture`

Every line is the output of a real run. The run uses free ports; the picture shows the default ports of the demo.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from demo.ports import free_port
from demo.world import World, make_world, running
from tests.support.pages import DOCS

TARGET = DOCS / "assets" / "terminal.svg"
WIDTH = 100
LINES = (
    "curl -s localhost:8000/orders",
    "headgate login --demo",
    "headgate status",
    "headgate get routes",
)


def ports(world: World) -> dict[str, str]:
    """The addresses of the run, and those in the picture."""
    first, second = world.dataplanes[:2]
    return {
        f":{first.port}": ":8000",
        f":{second.port}": ":8010",
        f":{world.controlplane.admin_port}": ":8080",
        str(world.folder): ".headgate",
    }


def answer(world: World, line: str, home: Path) -> str:
    """The output of a command, run in a folder with the demo's .headgate."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(home / "config"),
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1",
        "NO_PROXY": "*",
    }
    asked = line.replace("localhost:8000", f"localhost:{world.dataplanes[0].port}")
    done = subprocess.run(["bash", "-c", asked], cwd=home, env=environment, capture_output=True, text=True)
    return (done.stdout + done.stderr).rstrip("\n")


def draw(world: World) -> str:
    """The picture, as SVG without fonts from other hosts."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".headgate").symlink_to(world.folder)
        for line in LINES:
            console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
            shown = answer(world, line, home)
            for real, default in ports(world).items():
                shown = shown.replace(real, default)
            console.print(Text.from_ansi(shown))
            console.print()
    svg = console.export_svg(title="Headgate", theme=MONOKAI, unique_id="terminal")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def timeless(svg: str) -> str:
    """The words of a picture, without what each run has of its own: revisions and times."""
    words = re.sub(r"<[^>]+>", " ", svg.split("</style>")[1]).replace("&#160;", " ")
    return " ".join(re.sub(r"[\d.:TZ-]*\d[\d.:TZ-]*", "N", words).split())


def main() -> None:
    """Start the demo, run the commands, draw, stop."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(make_world(Path(folder), [free_port() for _ in range(8)])) as world,
    ):
        svg = draw(world)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(svg)


if __name__ == "__main__":
    main()
