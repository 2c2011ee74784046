"""Text of configuration files: from files, folders and standard input, with a check of the size before parsing."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headgate.cli.failure import USAGE, Failure
from headgate.cli.yaml_values import MalformedYaml, read_yaml

SUFFIXES = (".yaml", ".yml", ".json")
MOST_BYTES = 32 * 1024 * 1024
"""For all files of one command together."""
STANDARD_INPUT = "standard input"


@dataclass(frozen=True, slots=True)
class Source:
    """One file."""

    name: str
    text: str

    @property
    def is_json(self) -> bool:
        """Whether it is parsed as JSON; all other files are YAML."""
        return self.name.endswith(".json")

    def documents(self) -> list[object]:
        """The values of its documents. Raises Failure with the position of an error."""
        try:
            if self.is_json:
                return [json.loads(self.text, object_pairs_hook=_unique)]
            return read_yaml(self.text)
        except json.JSONDecodeError as error:
            raise Failure(f"{self.name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
        except MalformedYaml as error:
            raise Failure(f"{self.name}:{error.line}:{error.column}: not YAML: {error}") from error
        except RecursionError as error:
            raise Failure(f"{self.name}: nested too deeply") from error
        except _GivenTwice as error:
            raise Failure(f"{self.name}: not JSON: {error}") from error
        except ValueError as error:
            raise Failure(f"{self.name}: not JSON: a number with so many digits cannot be read") from error


def read_sources(paths: Sequence[str], *, recursive: bool = False) -> Iterator[Source]:
    """The selected files, in order. Raises Failure if one cannot be read, or if they are too large."""
    if paths.count("-") > 1:
        raise Failure("-f - can be given once: standard input has one content", USAGE)
    left = MOST_BYTES
    for path in _files(paths, recursive):
        source = _read_stdin(left) if path is None else _read(path, left)
        left -= len(source.text)
        yield source


def _files(paths: Iterable[str], recursive: bool) -> Iterator[Path | None]:
    """Every file once; None for standard input."""
    for path in paths:
        if path == "-":
            yield None
        elif path.startswith(("http://", "https://")):
            raise Failure(f"{path} is a URL, and files are read: curl -fsS {path} | headgate … -f -", USAGE)
        elif Path(path).is_dir():
            files = sorted(_below(Path(path)) if recursive else _within(Path(path)))
            if not files:
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
    """Without hidden folders such as .git and .github, which belong to other tools."""
    for at, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(at, name) for name in files if Path(name).suffix in SUFFIXES)


def _unreadable(error: OSError) -> None:
    raise Failure(f"cannot read {error.filename}: {error.strerror}") from error


def _read_stdin(most: int) -> Source:
    if sys.stdin.isatty():
        sys.stderr.write("headgate: reads standard input; end it with Ctrl-D\n")
    stream: IO[Any] = getattr(sys.stdin, "buffer", sys.stdin)
    content = stream.read(most + 1)
    return _decoded(STANDARD_INPUT, content if isinstance(content, bytes) else content.encode(), most)


def _read(file: Path, most: int) -> Source:
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > most:
                raise _too_large(str(file))
            return _decoded(str(file), stream.read(most + 1), most)
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error


def _decoded(name: str, content: bytes, most: int) -> Source:
    if len(content) > most:
        raise _too_large(name)
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Failure(f"{name}:{line}: not UTF-8 at byte {error.start}") from error


def _too_large(name: str) -> Failure:
    return Failure(f"{name}: too large: the files of one command may have {MOST_BYTES >> 20} MiB together")


class _GivenTwice(ValueError):
    """A repeated key in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _GivenTwice(f"key {twice!r} is given twice in one object")
    return found
