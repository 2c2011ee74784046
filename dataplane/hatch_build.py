"""Builds a wheel whose request path is compiled by mypyc. Uncompiled, the same sources run as plain Python.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip wheel ./dataplane

needs a C compiler. The modules on the request path, and those that apply a change between requests, become C extensions
beside their sources, which stay in the wheel for tracebacks. docs/explanation/performance.md has the figures.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = "dataplane"
COMPILED: Final = (
    "proxy/*.py",
    "proxy/fields/*.py",
    "proxy/http1/*.py",
    "gateway/*.py",
    "gateway/policy/*.py",
    "config/decode/*.py",
    "config/apply.py",
    "config/builtin.py",
    "config/items.py",
    "config/table.py",
    "observe/access.py",
    "observe/lines.py",
    "observe/record.py",
    "telemetry/access_records.py",
    "telemetry/attributes.py",
    "telemetry/measured.py",
    "telemetry/observers.py",
    "telemetry/otlp.py",
    "telemetry/request_fields.py",
    "telemetry/spans.py",
)
"""Patterns of the modules that run for every request, or that apply a change between requests."""
PLAIN: Final = frozenset(
    {
        "gateway/policy/tokens.py",  # runs on a cache miss only, and mypyc 2.4 cannot compile it
        "gateway/explanation.py",  # runs only when an operator asks
        "gateway/explained_steps.py",  # the same
        "gateway/lost_routes.py",  # the same
        "proxy/lookups.py",  # runs on a pool miss only, and its threads mostly wait
        "proxy/connector.py",  # the same
        "proxy/unix_sockets.py",  # the same
        "proxy/targets.py",  # the same, and mypyc cannot subclass OSError
    }
)
_SETUP: Final = """
import mypyc, os, sys
from mypyc.build import mypycify
from setuptools import setup
headers = os.path.dirname(mypyc.__file__)
os.environ["CFLAGS"] = os.environ.get("CFLAGS", "") + f" -ffile-prefix-map={headers}=mypyc"
extensions = mypycify(sys.argv[1:], opt_level="3", group_name="dataplane.compiled")
setup(name="headgate-dataplane", ext_modules=extensions, packages=[], script_args=["build_ext", "--inplace"])
"""
"""`group_name` places the code that all extensions share inside the package. Assertions in mypyc's headers name their
file, which lies in a temporary folder: without the map, two builds would differ."""
SETTINGS: Final = (
    "[mypy]\nnamespace_packages = true\nexplicit_package_bases = true\nignore_missing_imports = true\n"
)
"""For mypy: what the data plane requires is not installed where a wheel is built."""


class Compile(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extensions to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; an editable install stays plain."""
        if version == "editable":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="headgate-compile-"))
        for extension in compile_into(Path(self.root), self._folder):
            build_data["force_include"][str(extension)] = str(extension.relative_to(self._folder / PACKAGE))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called after the build."""
        if version != "editable":
            shutil.rmtree(self._folder)


def compiled(package: Path) -> list[str]:
    """The modules of `package` that are compiled, as paths from its parent."""
    found = {path.relative_to(package) for pattern in COMPILED for path in package.glob(pattern)}
    wanted = sorted(path for path in found if path.as_posix() not in PLAIN and path.name != "__init__.py")
    return [f"{PACKAGE}/{path.as_posix()}" for path in wanted]


def compile_into(package: Path, folder: Path) -> list[Path]:
    """Compile a copy of `package` in `folder`. Returns the extensions. Prints and raises CalledProcessError."""
    copy = folder / PACKAGE
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so", "hatch_build.py"))
    (folder / "mypy.ini").write_text(SETTINGS)
    arguments = [sys.executable, "-c", _SETUP, *compiled(copy)]
    made = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        sys.stderr.write(made.stdout + made.stderr)
        made.check_returncode()
    return sorted(copy.rglob("*.so"))
