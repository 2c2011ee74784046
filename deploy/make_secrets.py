"""`make secrets`: adds the secrets of docker-compose.yml that .env lacks; its other lines stay as they are.

    python deploy/make_secrets.py .env NAME…

The file is readable by its owner alone, and written whole or not at all.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

AS_IS = ("utf-8", "surrogateescape")
"""Reads and writes what is not UTF-8, too, and a byte order mark, which Compose ignores."""


def main() -> int:
    """Write, and tell what was done."""
    file, names = Path(sys.argv[1]), sys.argv[2:]
    text = file.read_text(*AS_IS) if file.exists() else ""
    # Not splitlines(): some characters of a value end a line for it alone.
    lines = text.removesuffix("\n").split("\n") if text else []
    # The last line of a name counts, as it does for Compose.
    given = dict(filter(None, map(variable, lines)))
    missing = [name for name in names if not given.get(name)]
    if missing:
        kept = [line for line in lines if (variable(line) or ("", ""))[0] not in missing]
        write(file.resolve(), [*kept, *(f"{name}={secrets.token_urlsafe(32)}" for name in missing)])
    print(f"{file} has {', '.join(names)}" + (f"; new: {', '.join(missing)}." if missing else "."))  # noqa: T201
    return 0


def variable(line: str) -> tuple[str, str] | None:
    """The name and the value of a line, as Compose reads them: `NAME=` and `NAME=""` are empty."""
    match = re.match(r"\ufeff?\s*(?:export\s+)?(\w+)\s*[=:]\s*(.*)", line)
    return (match[1], re.sub(r"^(['\"])\1(\s+#.*)?$", "", match[2].strip())) if match else None


def write(file: Path, lines: Iterable[str]) -> None:
    """Replace the file."""
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    beside.touch(mode=0o600, exist_ok=False)
    beside.write_text("".join(f"{line}\n" for line in lines), *AS_IS)
    beside.replace(file)


if __name__ == "__main__":
    sys.exit(main())
