"""`python -m tests.support.compiled_types`: the types of the compiled modules, as the build of a wheel sees them.

Nothing that the data plane requires is installed there, so that some types are missing: an alias of one must be
declared (`Routers: TypeAlias = Map[str, Router]`), or mypyc takes it for a variable. `make compiled` finds that, too,
but only after minutes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dataplane.hatch_build import SETTINGS, compiled

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".mypy_cache" / "compiled"


def main() -> int:
    """Print what mypy says; its exit code."""
    CACHE.mkdir(parents=True, exist_ok=True)
    settings = CACHE / "mypy.ini"
    settings.write_text(SETTINGS)
    options = [f"--config-file={settings}", f"--cache-dir={CACHE}", "--no-site-packages"]
    command = [sys.executable, "-m", "mypy", *options, *compiled(ROOT / "dataplane")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
