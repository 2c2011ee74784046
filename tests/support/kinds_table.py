"""Writes the command line's table of kinds from the control plane's model; `--check` checks that it is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from controlplane.model.base import FOR_PEOPLE
from controlplane.model.resources import documents

TARGET = Path(__file__).parents[2] / "sdk" / "headgate" / "cli" / "resource_kinds.py"
HEAD = '''"""The kinds of resources. Generated from the control plane's model: `python -m tests.support.kinds_table`."""

from __future__ import annotations

RESOURCES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    # kind, plural, the field that holds the name, every other field
'''


def table() -> str:
    """The file's content."""
    lines = []
    for plural, model in documents().items():
        own = (name for name in model.model_fields if name not in (model.NAMED_BY, *FOR_PEOPLE))
        fields = (*(name for name in own if not _kept_back(model, name)), *FOR_PEOPLE)
        lines.append(f"    {(model.KIND, plural, model.NAMED_BY, fields)!r},\n")
    return _formatted(HEAD + "".join(lines) + ")\n")


def _formatted(source: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True, check=True).stdout


def _kept_back(model: type, name: str) -> bool:
    """Whether the admin API never shows the field."""
    field = model.model_fields[name]  # type: ignore[attr-defined]
    return bool(field.exclude) or "writeOnly" in str(field.json_schema_extra)


def main() -> int:
    """Write the table; with `--check` exit 1 if it differs."""
    fresh = table()
    if "--check" not in sys.argv:
        TARGET.write_text(fresh)
        return 0
    if TARGET.read_text() == fresh:
        return 0
    sys.stderr.write(f"{TARGET.name} is not what the model says; run: python -m tests.support.kinds_table\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
