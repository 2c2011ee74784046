"""docs/reference/settings.md is made from the settings themselves: names, defaults and prose stand in one place.

`make docs` writes it; `make check` fails when it is stale.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from dataplane.proxy.bounds import Bounds

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "reference" / "settings.md"
HEADER = """\
# Settings

Environment variables, or lines of a `.env` file in the working folder. They are read once at start; every wrong
one is named in one message, and the process ends with code 2. A variable that is not a setting, and resembles one
that is not set, is named in a warning. No secret has a default. Durations are seconds. This page is made from the
code (`make docs`).
"""


def settings_of(plane: str) -> Iterator[tuple[str, str, str]]:
    """Name, default and prose of every setting of a plane, in the order of its class."""
    tree = ast.parse((ROOT / plane / "settings.py").read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for node, after in pairwise([*found.body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            prose = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                prose = " ".join(str(after.value.value).split())
            yield node.target.id.upper(), default_of(node.value), prose


def default_of(value: ast.expr | None) -> str:
    """A default as it would be written in the environment."""
    if value is None:
        return "**required**"
    if isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    # Bounds have their defaults where they are kept.
    known = getattr(Bounds(), value.attr) if isinstance(value, ast.Attribute) else ast.literal_eval(value)
    if known in (None, "", ()):
        return ""
    text = ",".join(map(str, known)) if isinstance(known, tuple) else str(known)
    return f"`{text.lower() if isinstance(known, bool) else text}`"


def render() -> str:
    """The whole page. ValueError names the settings without prose."""
    lines, silent = [HEADER], []
    for plane, title in (("controlplane", "Control plane"), ("dataplane", "Data plane")):
        lines += [f"\n## {title}\n", "| variable | default | what it does |", "|---|---|---|"]
        for name, default, prose in settings_of(plane):
            lines.append(f"| `{name}` | {default} | {prose} |")
            if not prose:
                silent.append(f"{plane} {name}")
    if silent:
        raise ValueError("settings without prose: " + ", ".join(silent))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with --check compare it."""
    page = render()
    if "--check" not in sys.argv:
        TARGET.write_text(page)
    elif not TARGET.exists() or TARGET.read_text() != page:
        sys.stderr.write("docs/reference/settings.md is not what the settings say; run: make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
