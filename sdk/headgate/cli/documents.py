"""Configuration files: one document out of files, folders and standard input.

YAML is read as the control plane reads it: the core schema of YAML 1.2, so that the key `on` stays a word, and a key
that is given twice is an error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headgate.cli.failure import Failure
from headgate.cli.resource_kinds import RESOURCES

SUFFIXES = (".yaml", ".yml", ".json")
_FORM = f"a document holds the lists {', '.join(plural for _, plural, *_ in RESOURCES)}"
_WITHIN = re.compile(r"(?P<section>\w+)\[(?P<position>\d+)\](?P<rest>.*)", re.DOTALL)


@dataclass(slots=True)
class Document:
    """The sections of all files put together, and where each entry came from."""

    sections: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def add(self, file: str, content: object) -> None:
        """Append what one file says."""
        if content is None:
            return
        if not isinstance(content, dict):
            raise Failure(f"{file}: must be an object; {_FORM}")
        self.files.add(file)
        for section, entries in content.items():
            known = self.sections.setdefault(str(section), [])
            if not isinstance(entries, list | None):
                raise Failure(f"{file}: {section}: must be a list; {_FORM}")
            for position, entry in enumerate(entries or ()):
                self.origins[str(section), len(known)] = (file, position)
                known.append(entry)

    def place(self, path: str) -> str:
        """A field path of the API, as a reader of the files would write it."""
        match = _WITHIN.fullmatch(path)
        origin = self.origins.get((match["section"], int(match["position"]))) if match else None
        if match is None or origin is None or len(self.files) < 2:
            return path
        file, position = origin
        return f"{file}: {match['section']}[{position}]{match['rest']}"

    def as_json(self) -> bytes:
        """What is sent."""
        try:
            return json.dumps(self.sections, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise Failure(f"not a document that can be sent: {error}") from error


def load(paths: Sequence[str]) -> Document:
    """Read files, every YAML and JSON file of a folder, and `-` for standard input."""
    document = Document()
    for name, text in _texts(paths):
        for content in _parse(name, text):
            document.add(name, content)
    if not document.sections:
        raise Failure(f"{', '.join(paths)}: nothing is declared there")
    return document


def _texts(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == "-":
            yield "standard input", sys.stdin.read()
        elif Path(path).is_dir():
            files = sorted(file for file in Path(path).iterdir() if file.suffix in SUFFIXES)
            if not files:
                raise Failure(f"{path}: no {', '.join(SUFFIXES)} file in this folder")
            yield from ((str(file), _read(file)) for file in files)
        else:
            yield path, _read(Path(path))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: not UTF-8 at byte {error.start}") from error


def _parse(name: str, text: str) -> list[Any]:
    """The documents of one file; JSON is YAML, too, but its own parser tells its errors better."""
    try:
        if name.endswith(".json"):
            return [json.loads(text, object_pairs_hook=_unique)]
        return list(yaml.load_all(text, Loader=_Loader))
    except json.JSONDecodeError as error:
        raise Failure(f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        hint = " (is the line indented as those beside it?)" if "<block" in str(error.problem) else ""
        raise Failure(f"{name}{where}: not YAML: {error.problem}{hint}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise Failure(f"{name}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise Failure(f"{name}: nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice in one object")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """Scalars of the core schema (YAML 1.2.2, §10.3.2), keys at most once."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the parent, but a key that is given twice is an error at its place."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key, yaml.ScalarNode) else False:
                problem = f"key {key.value!r} is given twice in one object"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
