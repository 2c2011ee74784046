"""Text of configuration files: from files, folders and standard input, with a check of the size before parsing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headgate.cli.failure import USAGE, Failure
from headgate.cli.folders import find_files
from headgate.cli.json_values import GivenTwice, is_json, read_json
from headgate.cli.places import Path as At
from headgate.cli.places import find_lines
from headgate.cli.variables import BadVariable, Environment, field_of, map_texts, substitute
from headgate.cli.yaml_values import Change, MalformedYaml, read_yaml

MOST_BYTES = 32 * 1024 * 1024
"""For all files of one command together."""
STANDARD_INPUT = "standard input"
_MOST_TOLD = 50
"""Variables that are named in one message."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file."""

    name: str
    text: str

    @property
    def is_json(self) -> bool:
        """Whether it is parsed as JSON; all other files are YAML. Standard input is, if it is JSON."""
        return self.name.endswith(".json") or (self.name == STANDARD_INPUT and is_json(self.text))

    def documents(self, environment: Environment | None = None) -> list[object]:
        """The values of its documents, with the variables of the environment; None: texts stay as they are.

        Raises Failure with the position of every error.
        """
        try:
            return self._documents(environment)
        except json.JSONDecodeError as error:
            raise Failure(f"{self.name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
        except MalformedYaml as error:
            raise Failure(f"{self.name}:{error.line}:{error.column}: not YAML: {error}") from error
        except RecursionError as error:
            raise Failure(f"{self.name}: nested too deeply") from error
        except GivenTwice as error:
            raise Failure(f"{self.name}: not JSON: {error}") from error
        except ValueError as error:
            raise Failure(f"{self.name}: not JSON: a number with so many digits cannot be read") from error

    def _documents(self, environment: Environment | None) -> list[object]:
        wrong: list[str] = []

        def change(text: str, path: At, line: int) -> str:
            try:
                return text if environment is None else substitute(text, environment)
            except BadVariable as error:
                wrong.append(f"{self.name}:{line}: {field_of(path)}: {error}")
                return text

        found = self._changed(read_json(self.text), change) if self.is_json else read_yaml(self.text, change)
        if len(wrong) > _MOST_TOLD:
            wrong[_MOST_TOLD:] = [f"and {len(wrong) - _MOST_TOLD} more"]
        if wrong:
            raise Failure("\n  ".join(wrong))
        return found

    def _changed(self, values: list[object], change: Change) -> list[object]:
        """JSON with changed texts. Lines are looked up only where there are variables."""
        wanted: list[At] = []
        map_texts(values, lambda text, path: wanted.append(path) if "$" in text else None)
        if not wanted:
            return values
        lines = find_lines(self.text, is_json=True, wanted=wanted)
        made = map_texts(
            values, lambda text, path: change(text, path[1:], lines[path]) if path in lines else text
        )
        return made if isinstance(made, list) else values


def read_sources(paths: Sequence[str], *, recursive: bool = False, empty: bool = False) -> Iterator[Source]:
    """The selected files, in order. Raises Failure if one cannot be read, or if they are too large; and for a folder
    without files, unless it may be `empty`."""
    if paths.count("-") > 1:
        raise Failure("-f - can be given once: standard input has one content", USAGE)
    left = MOST_BYTES
    for path in find_files(paths, recursive, empty):
        source = _read_stdin(left) if path is None else _read(path, left)
        left -= len(source.text)
        yield source


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
