"""The lines of values in a file; computed only for an error message."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from typing import Any

import yaml

from headgate.cli.yaml_values import Parser

Path = tuple[str | int, ...]
"""Position of the document in its file, then keys and list positions."""
_Event = tuple[str, str, int]
"""`[`, `{`, `]` (the end of either) or `v`; the text of a `v`; the line, from 1."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def steps(field: str) -> Path:
    """The path of a field as the API names it: `scopes[0].name` is ("scopes", 0, "name")."""
    return tuple(int(match[2]) if match[2] else match[1] for match in _STEP.finditer(field))


def find_lines(text: str, *, is_json: bool, wanted: Collection[Path]) -> dict[Path, int]:
    """The line of each path; for a missing field, the line of its parent."""
    prefixes = {path[:length] for path in wanted for length in range(1, len(path) + 1)}
    found: dict[Path, int] = {}
    with contextlib.suppress(
        yaml.YAMLError
    ):  # the file is malformed further on: the lines so far are correct
        _walk(_json_events(text) if is_json else _yaml_events(text), prefixes, found)
    return {path: _nearest(path, found) for path in wanted}


def _nearest(path: Path, found: dict[Path, int]) -> int:
    return next((found[path[:end]] for end in range(len(path), 0, -1) if path[:end] in found), 1)


def _walk(events: Iterator[_Event], wanted: Collection[Path], found: dict[Path, int]) -> None:
    path: list[str | int] = [-1]
    in_list: list[bool] = [True]  # of documents
    at_key = False
    for kind, text, line in events:
        if kind == "]":
            path.pop()
            in_list.pop()
            at_key = not in_list[-1]
            continue
        if in_list[-1]:
            path[-1] = int(path[-1]) + 1
        elif at_key:
            path[-1] = text
        if (here := tuple(path)) in wanted:
            found.setdefault(here, line)  # for a value with a key, the line of the key
        if at_key:
            at_key = False
            continue
        if kind == "v":
            at_key = not in_list[-1]
        else:
            path.append(-1 if kind == "[" else "")
            in_list.append(kind == "[")
            at_key = kind == "{"


def _yaml_events(text: str) -> Iterator[_Event]:
    event: Any
    for event in yaml.parse(text, Loader=Parser):
        line = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                yield "v", event.value, line
            case yaml.AliasEvent():
                yield "v", "", line
            case yaml.MappingStartEvent():
                yield "{", "", line
            case yaml.SequenceStartEvent():
                yield "[", "", line
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                yield "]", "", line


def _json_events(text: str) -> Iterator[_Event]:
    line, before = 1, 0
    for match in _JSON.finditer(text):
        line += text.count("\n", before, match.start())
        before = match.start()
        token = match[0]
        if token in ("{", "["):
            yield token, "", line
        elif token in ("}", "]"):
            yield "]", "", line
        elif token not in (":", ","):
            yield "v", token.strip('"'), line
