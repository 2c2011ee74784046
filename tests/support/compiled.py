"""The data plane with its request path compiled by mypyc: `python -m tests.support.compiled FOLDER`.

The plain Python stays the source; this makes a copy of the package whose modules on the request path are C extensions.
It needs a C compiler. With FOLDER before everything else on the path, the copy is what runs:

    PYTHONSAFEPATH=1 PYTHONPATH=FOLDER python -m dataplane
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = (
    "dataplane/http/*.py",
    "dataplane/policy/*.py",
    "dataplane/gateway.py",
    "dataplane/observe/access.py",
    "dataplane/observe/record.py",
    "dataplane/config/table.py",
)
PLAIN = {
    "dataplane/policy/tokens.py",  # off the path of cached tokens, and mypyc 2.4 cannot translate it
}


def build(folder: Path) -> None:
    """Make the copy. Raises CalledProcessError when mypyc or the compiler fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(
        ROOT / "dataplane", folder / "dataplane", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    environment = {**os.environ, "MYPYPATH": str(ROOT / "proto"), "MYPYC_OPT_LEVEL": "3"}
    mypyc = Path(sys.executable).parent / "mypyc"
    subprocess.run([str(mypyc), *modules(folder)], cwd=folder, env=environment, check=True)
    shutil.rmtree(folder / "build")


def modules(folder: Path) -> list[str]:
    """What is compiled, as paths within the folder."""
    found = sorted(str(path.relative_to(folder)) for pattern in MODULES for path in folder.glob(pattern))
    return [path for path in found if path not in PLAIN and not path.endswith("__init__.py")]


def main() -> int:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    try:
        build(parser.parse_args().folder.resolve())
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
