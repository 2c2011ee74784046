"""The files that -f names: files, those of folders, and standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from headgate.cli.failure import USAGE, Failure

SUFFIXES = (".yaml", ".yml", ".json")
MOST_FOLDERS = 10_000
"""For one folder that is named."""


def find_files(paths: Iterable[str], recursive: bool, empty: bool) -> Iterator[Path | None]:
    """Every file once; None for standard input."""
    for path in paths:
        if path == "-":
            yield None
        elif path.startswith(("http://", "https://")):
            raise Failure(f"{path} is a URL, and files are read: curl -fsS {path} | headgate … -f -", USAGE)
        elif Path(path).is_dir():
            files = sorted(_below(Path(path)) if recursive else _within(Path(path)))
            if not (files or empty):
                where = "in this folder or those below" if recursive else "in this folder"
                hint = "" if recursive else " (-R reads the folders below, too)"
                raise Failure(f"{path}: no {', '.join(SUFFIXES)} file {where}{hint}")
            yield from map(_regular, files)
        else:
            yield Path(path)


def _regular(file: Path) -> Path:
    """Raises Failure for a pipe or device among the files of a folder: reading it might never end."""
    if file.exists() and not file.is_file():
        raise Failure(f"{file}: neither a file nor a folder; name it with -f to read it")
    return file


def _within(folder: Path) -> Iterator[Path]:
    try:
        return (file for file in list(folder.iterdir()) if file.suffix in SUFFIXES and not file.is_dir())
    except OSError as error:
        raise Failure(f"cannot read {folder}: {error.strerror}") from error


def _below(folder: Path) -> Iterator[Path]:
    """Without hidden folders such as .git and .github, which belong to other tools. Links are followed, and each folder
    is read once, so a loop of links ends."""
    seen = {_identity(str(folder))}
    for at, folders, files in os.walk(folder, onerror=_unreadable, followlinks=True):
        # Folders before links to them, so that files have the names of where they are.
        names = sorted(folders, key=lambda name: (Path(at, name).is_symlink(), name))
        folders[:] = [
            name for name in names if not name.startswith(".") and _is_new(str(Path(at, name)), seen)
        ]
        yield from (Path(at, name) for name in files if Path(name).suffix in SUFFIXES)


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not read yet, by this or another link. Raises Failure for too many."""
    identity = _identity(folder)
    if identity in seen:
        return False
    if len(seen) >= MOST_FOLDERS:
        raise Failure(f"{folder}: more than {MOST_FOLDERS} folders; a link may lead out of the configuration")
    seen.add(identity)
    return True


def _identity(folder: str) -> tuple[int, int]:
    try:
        found = Path(folder).stat()
    except OSError as error:
        raise Failure(f"cannot read {folder}: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _unreadable(error: OSError) -> None:
    raise Failure(f"cannot read {error.filename}: {error.strerror}") from error
