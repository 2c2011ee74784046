"""The virtual environment: the installed distributions and their programs, without what is not run."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from deploy.rootfs import files
from deploy.rootfs.stdlib import INTERPRETER

LEFT_OUT = (
    *("__pycache__", "tests", "test", "_test"),
    # Sources of extension modules, and what only a type checker reads.
    *("*.pyi", "*.pxd", "*.pyx", "*.pxi", "*.c", "*.cc", "*.h", "*.a"),
    # pip's own notes. What it lists has been stripped since.
    *("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"),
    # The parser of C with which cffi builds modules, and bills of materials inside packages: images have their own.
    *("pycparser", "pycparser-*.dist-info", "sboms"),
)
"""Patterns of names."""
UNUSED = ("site-packages/pydantic/v1", "site-packages/pydantic/mypy.py", "site-packages/cffi")
"""Ends of paths: the old pydantic inside the new one, which nothing here imports, and the part of cffi that builds
modules; those that are built need `_cffi_backend` alone."""


def wanted(path: Path) -> bool:
    """Whether a file or folder of an environment is in images."""
    if path.parts[0] == "bin" and len(path.parts) > 1:
        return path.name.startswith("headgate")
    if path.parts[0] == "include" or path.as_posix().endswith(UNUSED):
        return False
    return not any(fnmatch(path.name, pattern) for pattern in LEFT_OUT)


def site_packages(environment: Path) -> Path:
    """Where distributions are installed."""
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


def copy(environment: Path, out: Path) -> None:
    """Copy the environment to the same path in the tree."""
    files.copy_tree(environment, out, wanted)
    programs = files.inside(out, environment) / "bin"
    for name in ("python", "python3"):
        files.link(str(INTERPRETER), programs / name)
