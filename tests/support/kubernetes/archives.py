"""Writes image archives as `docker save` does: images without a registry, an engine or a base image."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of images, by those of the system."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer."""

    reference: str
    entrypoint: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "65532:65532"

    def config(self, layer: str, machine: str) -> bytes:
        """Its configuration, for a layer with this SHA-256 in hexadecimal."""
        document: dict[str, Any] = {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint),
                "Env": [f"{name}={value}" for name, value in self.environment.items()],
                "User": self.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        }
        return json.dumps(document).encode()


def write_layer(path: Path, files: Iterable[tuple[Path, str]], folders: Sequence[str] = ()) -> None:
    """A layer with these files (source, absolute path in the image) and empty folders, all owned by root."""
    with tarfile.open(path, "w") as layer:
        for folder in folders:
            layer.addfile(_owned(_folder(folder)))
        for source, target in files:
            layer.add(source.resolve(), target.lstrip("/"), recursive=False, filter=_owned)


def write_archive(path: Path, layer: Path, images: Sequence[Image], machine: str) -> None:
    """An archive of images that share the layer."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = []
    with tarfile.open(path, "w") as archive:
        archive.add(layer, "layer.tar")
        for image in images:
            config = image.config(digest, machine)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, name, config)
            manifest.append({"Config": name, "RepoTags": [image.reference], "Layers": ["layer.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _folder(path: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.strip("/"))
    entry.type = tarfile.DIRTYPE
    # As /tmp is: containers run as a user of their own.
    entry.mode = 0o1777
    return entry


def _owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    if entry.isreg():
        entry.mode |= 0o444 | (entry.mode & 0o100 and 0o111)
    return entry
