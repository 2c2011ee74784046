"""`make compat`: the demo and the unit tests on every supported Python on this machine.

Each interpreter gets an environment of its own in build/compat. A missing interpreter is reported and does not fail the
run; a failed step does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
STEPS = {"demo": ("demo", "CHECK=1"), "unit tests": ("unit", "TESTS=tests/unit")}
PROBE = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    """Run every step on every interpreter; return 1 if one failed or there is no interpreter."""
    results = {version: _run(version) for version in VERSIONS}
    sys.stdout.write("\n" + "".join(f"Python {version}: {result}\n" for version, result in results.items()))
    found = [result for result in results.values() if result != "not found"]
    return 0 if found and all(result.startswith("passed") for result in found) else 1


def find(version: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A working interpreter of this version: from the PATH, else one installed by pyenv or uv."""
    for candidate in _candidates(version, environment):
        asked = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=False)
        if (asked.returncode, asked.stdout.strip()) == (0, version):
            return candidate
    return None


def _candidates(version: str, environment: Mapping[str, str]) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)
    home = Path(environment.get("HOME", "/"))
    pyenv = Path(environment.get("PYENV_ROOT", home / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    yield from sorted(
        home.glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"), reverse=True
    )


def _run(version: str) -> str:
    interpreter = find(version)
    if interpreter is None:
        return "not found"
    # Without the variables of the make that started this, which would apply to the makes below.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    for step, arguments in STEPS.items():
        sys.stdout.write(f"\n== Python {version} ({interpreter}): {step}\n")
        sys.stdout.flush()
        command = ("make", f"VENV=build/compat/{version}", f"PYTHON={interpreter}", *arguments)
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return f"FAILED: {step}"
    return f"passed: {', '.join(STEPS)}"


if __name__ == "__main__":
    sys.exit(main())
