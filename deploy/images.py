"""`make images`: builds the images, writes the bill of materials of each, and fails if one is too large.

    make images BASE=python:3.11-slim-bookworm IMAGE_PREFIX=registry.example.org/headgate

Each image is PREFIX-NAME:VERSION. What stands after the options is passed on to `docker build`. build/images gets a
copy of each image's bill of materials, and `images.json`: names, sizes and identifiers, for a release and for tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
SOURCES = (
    *("Dockerfile", ".dockerignore", "constraints.txt", "VERSION", "LICENSE"),
    *("proto", "controlplane", "dashboard", "dataplane", "sdk", "deploy"),
)
"""What images are made from: changes of these are changes of the images."""
DOCKER = os.environ.get("DOCKER", "docker")
MEGABYTE = 1_000_000
LIMITS = {"controlplane": 100, "dataplane": 120, "sdk": 120}
"""The images, and the size in MB that each stays below, unpacked."""
SBOM = "/opt/headgate/sbom.cdx.json"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Image:
    """A built image; sizes in bytes."""

    name: str
    reference: str
    identifier: str
    unpacked: int
    """All files."""
    packed: int
    """All layers with gzip, as in a registry."""
    sbom: str

    @property
    def too_large(self) -> bool:
        return self.unpacked > LIMITS[self.name] * MEGABYTE

    def __str__(self) -> str:
        sizes = f"{self.unpacked / MEGABYTE:.1f} MB, {self.packed / MEGABYTE:.1f} MB packed"
        return f"{self.reference}: {sizes} (at most {LIMITS[self.name]} MB){' TOO LARGE' * self.too_large}"


@dataclass(frozen=True)
class Source:
    """What the images are built from."""

    version: str
    revision: str
    epoch: int
    """Seconds since 1970 of the commit: the time of every file in the images."""

    @classmethod
    def of(cls, root: Path) -> Source:
        """The checkout: the commit, and "+changes" if sources differ from it or are not in it."""
        changes = _output("git", "-C", str(root), "status", "--porcelain", "--", *SOURCES)
        revision, epoch = _output("git", "-C", str(root), "log", "-1", "--format=%H %ct").split()
        version = (root / "VERSION").read_text().strip()
        return cls(version, revision + "+changes" * bool(changes), int(epoch))

    def arguments(self) -> list[str]:
        """Arguments of `docker build` that say it in the image."""
        created = datetime.fromtimestamp(self.epoch, UTC).isoformat().replace("+00:00", "Z")
        named = {"VERSION": self.version, "REVISION": self.revision, "SOURCE_DATE_EPOCH": str(self.epoch)}
        arguments = [part for name, value in named.items() for part in ("--build-arg", f"{name}={value}")]
        return [*arguments, "--label", f"org.opencontainers.image.created={created}"]


def main() -> int:
    """Build all of them; return 1 if a command fails, or one is too large."""
    options, extra = _parser().parse_known_args()
    try:
        images = build_all(options, extra)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"No images: {shlex.join(map(str, error.cmd))} ended with {error.returncode}\n")
        return 1
    except FileNotFoundError as error:
        sys.stderr.write(f"No images: there is no {error.filename} command\n")
        return 1
    sys.stdout.write("".join(f"{image}\n" for image in images))
    return 1 if any(image.too_large for image in images) else 0


def build_all(options: argparse.Namespace, extra: Sequence[str]) -> list[Image]:
    """Build the images that the options name, and write `images.json`. CalledProcessError if something fails."""
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    source = Source.of(ROOT)
    arguments = [*source.arguments(), "--build-arg", f"BASE={options.base}", *extra]
    images = [build(name, options.prefix, source.version, arguments, output) for name in options.only]
    (output / "images.json").write_text(json.dumps([asdict(image) for image in images], indent=1) + "\n")
    return images


def build(name: str, prefix: str, version: str, arguments: Sequence[str], output: Path) -> Image:
    """Build one image and write its bill of materials. CalledProcessError if something fails."""
    reference = f"{prefix}-{name}:{version}"
    _run(DOCKER, "build", "--target", name, "--tag", reference, *arguments, str(ROOT))
    identifier = _output(DOCKER, "image", "inspect", "--format", "{{.Id}}", reference)
    sbom = output / f"{name}.cdx.json"
    unpacked = _read_files(reference, sbom)
    return Image(name, reference, identifier, unpacked, _packed(reference), sbom.name)


def unpack(stream: IO[bytes], sbom: Path) -> int:
    """Write the bill of materials of an exported image to `sbom`. Returns the size of all files."""
    size = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            size += member.size
            if f"/{member.name}" == SBOM and (content := archive.extractfile(member)):
                sbom.write_bytes(content.read())
    return size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy.images", description="Further options go to docker build.")
    parser.add_argument("--base", default="python:3.11-slim-bookworm", help="an image with Python and pip")
    parser.add_argument("--prefix", default="headgate", help="what the names begin with")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "images")
    parser.add_argument("--only", nargs="+", choices=tuple(LIMITS), default=tuple(LIMITS))
    return parser


def _read_files(reference: str, sbom: Path) -> int:
    # An engine's own figure may be that of packed layers: it depends on how the engine stores images.
    container = _output(DOCKER, "container", "create", reference)
    try:
        with _streamed(DOCKER, "container", "export", container) as stream:
            return unpack(stream, sbom)
    finally:
        _run(DOCKER, "container", "rm", container, quiet=True)


def _packed(reference: str) -> int:
    """The size with gzip, of the archive of the whole image; the layers make up all but some kilobytes of it."""
    packer, size = zlib.compressobj(), 0
    with _streamed(DOCKER, "image", "save", reference) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())


@contextmanager
def _streamed(*command: str) -> Iterator[IO[bytes]]:
    """What a command writes, while it runs. CalledProcessError if it fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        yield process.stdout
        # A writer whose reader stops early fails: archives have padding at their end.
        while process.stdout.read(_CHUNK):
            pass
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _output(*command: str) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return done.stdout.strip()


def _run(*command: str, quiet: bool = False) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
