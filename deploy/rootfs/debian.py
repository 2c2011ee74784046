"""The packages of Debian that files of an image come from.

Scanners of images find them in /var/lib/dpkg/status.d, as in other images without a package manager.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.rootfs import files

STATUS = Path("var/lib/dpkg/status.d")
FIELDS = ("Package", "Version", "Architecture", "Source", "Homepage", "Maintainer")


@dataclass(frozen=True, order=True)
class Package:
    """An installed package."""

    name: str
    version: str
    architecture: str


def describe(out: Path, origins: Iterable[Path]) -> None:
    """Write the state and the licence of the packages that these files come from."""
    for name in sorted({name for path in origins for name in _owners(path)}):
        status = out / STATUS / name
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(_query("--show", f"--showformat={_FORMAT}", name))
        licence = Path("/usr/share/doc", name, "copyright")
        if licence.exists():
            files.copy_file(licence.resolve(), files.inside(out, licence))


def described(out: Path) -> Iterator[Package]:
    """The packages that `describe` has written, by name."""
    for path in sorted((out / STATUS).glob("*")):
        fields = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
        yield Package(fields["Package"], fields["Version"], fields["Architecture"])


_FORMAT = "".join(f"{name}: ${{{name}}}\\n" for name in FIELDS) + "Status: install ok installed\\n"


def _owners(path: Path) -> Iterator[str]:
    # Packages that are older than the move of /lib to /usr/lib name the old path.
    for known in (path, Path("/", *path.parts[2:])):
        if known != Path("/"):
            for line in _query("--search", str(known)).splitlines():
                names, _, owned = line.rpartition(": ")
                if owned == str(known):
                    yield from (name.split(":")[0] for name in names.split(", "))


def _query(*arguments: str) -> str:
    """What dpkg says; empty if this base has no dpkg, or no package owns the file."""
    if shutil.which("dpkg-query") is None:
        return ""
    asked = subprocess.run(["dpkg-query", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return asked.stdout
