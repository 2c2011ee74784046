"""What a release consists of: wheels, the packaged chart, the names of the images, checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from deploy.images import LIMITS

DISTRIBUTIONS = ("./proto", "./controlplane", "./dataplane", "./sdk")
SUMS = "SHA256SUMS"


def make(tree: Path, folder: Path, version: str, prefix: str, epoch: int) -> None:
    """Fill the folder from a clean tree; its files depend on the tree and `epoch` alone."""
    folder.mkdir(parents=True)
    _wheels(tree, folder, epoch)
    name = f"headgate-{version}.tgz"
    (folder / name).write_bytes(chart(tree / "charts" / "headgate", epoch))
    (folder / "images.txt").write_text("".join(f"{prefix}-{image}:{version}\n" for image in LIMITS))
    (folder / SUMS).write_text(sums(folder))


def _wheels(tree: Path, folder: Path, epoch: int) -> None:
    """Plain wheels: those with a compiled request path are for one Python and machine, and made in images."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "false"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(folder), *DISTRIBUTIONS]
    subprocess.run(command, cwd=tree, env=environment, check=True)  # noqa: S603


def chart(source: Path, epoch: int) -> bytes:
    """The chart as `helm package` packs it, but with one time for all files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as packed:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"{source.name}/{path.relative_to(source).as_posix()}")
                entry.size, entry.mtime = len(content), epoch
                packed.addfile(entry, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), mtime=epoch)


def sums(folder: Path) -> str:
    """Lines for `sha256sum --check`."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
