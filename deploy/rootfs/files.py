"""Files of the tree that becomes a layer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

ELF = b"\x7fELF"


def inside(out: Path, path: Path) -> Path:
    """Where an absolute path lies in the tree."""
    return out / path.relative_to("/")


def copy_tree(source: Path, out: Path, wanted: Callable[[Path], bool]) -> None:
    """Copy a folder to the same place in the tree, without what is not `wanted` (asked with the path below it)."""

    def unwanted(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not wanted((Path(folder) / name).relative_to(source))]

    shutil.copytree(source, inside(out, source), symlinks=True, ignore=unwanted, dirs_exist_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, for everybody to read: a checkout may be its owner's alone (umask 077)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def link(target: str, path: Path) -> None:
    """Make a symbolic link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def binaries(out: Path) -> Iterator[Path]:
    """Every program and shared library in the tree."""
    for path in sorted(out.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == ELF:
                    yield path


def strip(out: Path) -> None:
    """Remove the symbols that only a debugger reads."""
    for path in binaries(out):
        # Those of *.libs were changed by auditwheel, in a way that strip may not understand.
        if not path.parent.name.endswith(".libs"):
            subprocess.run(["strip", "--strip-unneeded", path], check=True)  # noqa: S603, S607


def set_times(out: Path, epoch: int) -> None:
    """Give all files the time of the release, so that two builds give one layer."""
    for path in [*out.rglob("*"), out]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)
