"""`make secrets`: adds the secrets of docker-compose.yml that .env lacks; its other lines stay as they are.

    python deploy/make_secrets.py .env NAME…

The file is readable by its owner alone, and written whole or not at all.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path


def main() -> int:
    """Write, and tell what was done."""
    file, names = Path(sys.argv[1]), sys.argv[2:]
    lines = file.read_text().splitlines() if file.exists() else []
    # `NAME=` without a value counts as missing, as it does for Compose.
    given = {name.strip() for name, _, value in (line.partition("=") for line in lines) if value.strip()}
    missing = [name for name in names if name not in given]
    if missing:
        kept = [line for line in lines if line.partition("=")[0].strip() not in missing]
        write(file, [*kept, *(f"{name}={secrets.token_urlsafe(32)}" for name in missing)])
    print(f"{file} has {', '.join(names)}" + (f"; new: {', '.join(missing)}." if missing else "."))  # noqa: T201
    return 0


def write(file: Path, lines: Iterable[str]) -> None:
    """Replace the file."""
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    beside.touch(mode=0o600, exist_ok=False)
    beside.write_text("".join(f"{line}\n" for line in lines))
    beside.replace(file)


if __name__ == "__main__":
    sys.exit(main())
