"""Imports every module of a compiled data plane in a separate interpreter: none may depend on an earlier import.

python -m tests.support.compiled build/compiled
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def modules(folder: Path) -> Iterator[str]:
    """The names of the compiled modules in `folder`; not the library that all of them share."""
    for path in sorted(folder.glob("dataplane/**/*.so")):
        name = path.name.partition(".")[0]
        if not name.endswith("__mypyc"):
            yield ".".join((*path.parent.relative_to(folder).parts, name))


def complaint(folder: Path, module: str) -> str:
    """The error of its import; empty if the compiled module could be imported."""
    check = f"import {module} as found; assert found.__file__.endswith('.so'), found.__file__"
    search = os.pathsep.join(map(str, (folder, *sys.path)))
    environment = {**os.environ, "PYTHONPATH": search, "PYTHONFAULTHANDLER": "1"}
    made = subprocess.run(
        [sys.executable, "-P", "-c", check], env=environment, capture_output=True, text=True, check=False
    )
    return "" if not made.returncode else made.stderr or f"exit status {made.returncode}"


def main() -> int:
    """Print every module that cannot be imported."""
    folder = Path(sys.argv[1]).resolve()
    found = {module: complaint(folder, module) for module in modules(folder)}
    for module, text in found.items():
        if text:
            sys.stderr.write(f"{module} cannot be imported once it is compiled:\n{text}\n")
    return 1 if any(found.values()) or not found else 0


if __name__ == "__main__":
    sys.exit(main())
