"""Shared libraries: those that programs and extension modules of a tree name, and those that name themselves."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deploy.rootfs import files

_LINE = re.compile(r"^\s*(?:\S+ => )?(?P<path>/\S+) \(0x", re.MULTILINE)
OPENED = ("libgcc_s.so.1",)
"""Opened by name at run time: glibc needs it to end a thread."""


def needed(binary: Path) -> Iterator[Path]:
    """The libraries that the loader finds for a binary. RuntimeError if one is missing."""
    asked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if "not found" in asked.stdout:
        raise RuntimeError(f"{binary}: {asked.stdout}")
    yield from (Path(found["path"]) for found in _LINE.finditer(asked.stdout))


def copy(out: Path, beside: Path) -> list[Path]:
    """Copy what the binaries of the tree need and neither it nor `beside` has. Returns what was copied."""
    wanted = {path for binary in files.binaries(out) for path in needed(binary)}
    wanted |= {
        found for path in wanted for found in (path.parent / name for name in OPENED) if found.exists()
    }
    copied = []
    for path in sorted(wanted):
        # /lib is a link to /usr/lib in the base and in the image.
        place = path.parent.resolve() / path.name
        if not any(files.inside(tree, place).exists() for tree in (out, beside)) and not place.is_relative_to(
            out
        ):
            files.copy_file(path, files.inside(out, place))
            copied.append(path.resolve())
    return copied


def write_cache(out: Path) -> None:
    """Write the loader's cache, without which it would not look into /usr/local/lib."""
    for path in (Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))):
        files.copy_file(path, files.inside(out, path))
    subprocess.run(["ldconfig", "-r", out], check=True)  # noqa: S603, S607
    # Holds times and inodes.
    (out / "var/cache/ldconfig/aux-cache").unlink(missing_ok=True)
