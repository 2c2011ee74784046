"""What an image consists of: the files of each layer in the archive that `docker image save` writes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A file, folder or link of a layer, with all that is stored of it."""

    kind: bytes
    mode: int
    user: int
    group: int
    time: int
    link: str
    content: str
    """A hash."""


def layers(archive: Path) -> list[dict[str, Entry]]:
    """The entries of each layer by path, the lowest layer first."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(_open(image, "manifest.json"))
        return [dict(_entries(image, name)) for name in manifest["Layers"]]


def config(archive: Path) -> dict[str, Any]:
    """The image's configuration, such as its labels."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(_open(image, "manifest.json"))
        found: dict[str, Any] = json.load(_open(image, manifest["Config"]))
        return found


def _open(image: tarfile.TarFile, name: str) -> Any:
    # A layer may be stored as a link to one with the same content.
    return image.extractfile(name)


def _entries(image: tarfile.TarFile, name: str) -> Iterator[tuple[str, Entry]]:
    with tarfile.open(fileobj=_open(image, name)) as layer:
        for member in layer:
            file = layer.extractfile(member) if member.isfile() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            yield (
                member.name,
                Entry(
                    member.type,
                    member.mode,
                    member.uid,
                    member.gid,
                    int(member.mtime),
                    member.linkname,
                    content,
                ),
            )
