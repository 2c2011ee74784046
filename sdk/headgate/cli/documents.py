"""Configuration files as one document, with the file and line of each entry."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headgate.cli import places
from headgate.cli.failure import Failure
from headgate.cli.resource_kinds import RESOURCES
from headgate.cli.sources import STANDARD_INPUT, Source, read_sources

MOST_SENT = 10 * 1024 * 1024
"""Bytes of JSON that the control plane accepts in one request."""

_NAMED_BY = {plural: (kind, key) for kind, plural, key, _ in RESOURCES}
_FORM = f"a document holds the lists {', '.join(_NAMED_BY)}"
_WITHIN = re.compile(r"(?P<section>\w+)\[(?P<position>\d+)\](?P<rest>.*)", re.DOTALL)
_MENTIONED = re.compile(r"\bfirst as (\w+\[\d+\])")


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of an entry, or of a whole section, in the files."""

    source: Source
    path: places.Path


@dataclass(slots=True)
class Document:
    """The merged sections of all files."""

    sections: dict[str, Any] = field(default_factory=dict)
    _entries: dict[tuple[str, int], Origin] = field(default_factory=dict)
    _sections: dict[str, Origin] = field(default_factory=dict)

    def add(self, source: Source, content: object, number: int) -> None:
        """Append one document of a file; `number` is its index, from 0. Raises Failure if it has another form."""
        if content is None:
            return
        if not isinstance(content, dict):
            line = _line(Origin(source, (number,)))
            raise Failure(f"{source.name}:{line}: must be an object; {_FORM}")
        for section, entries in content.items():
            origin = Origin(source, (number, section))
            known = self.sections.setdefault(section, [])
            if not isinstance(entries, list | None) and section not in _NAMED_BY:
                told = f"{section}: is none of the lists that a document holds: {', '.join(_NAMED_BY)}"
                raise Failure(f"{source.name}:{_line(origin)}: {told}")
            if not isinstance(entries, list | None):
                raise Failure(f"{source.name}:{_line(origin)}: {section}: must be a list; {_FORM}")
            self._sections.setdefault(section, origin)
            for position, entry in enumerate(entries or ()):
                self._entries[section, len(known)] = Origin(source, (*origin.path, position))
                known.append(entry)

    def as_json(self) -> bytes:
        """The document to send. Raises Failure if it cannot be encoded, or is larger than the control plane accepts."""
        try:
            content = json.dumps(self.sections, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise Failure("not a document that can be sent: .inf and .nan are no numbers in JSON") from error
        if len(content) > MOST_SENT:
            found = (
                f"{len(content) / (1 << 20):.1f} MiB as JSON, and {MOST_SENT >> 20} MiB can be sent at once"
            )
            raise Failure(f"the files are too large: {found}; apply them in parts")
        return content

    def located(self, problems: Iterable[dict[str, str]]) -> list[dict[str, str]]:
        """Problems of the API in terms of the files: `field` is FILE:LINE, resource and field."""
        listed = list(problems)
        fields = [problem.get("field", "") for problem in listed]
        mentioned = [match[1] for one in listed for match in _MENTIONED.finditer(one.get("detail", ""))]
        lines = self._lines([*fields, *mentioned])

        def elsewhere(match: re.Match[str]) -> str:
            return f"first at {lines[match[1]]}" if match[1] in lines else match[0]

        return [
            {
                **problem,
                "field": self._described(at, lines),
                "detail": _MENTIONED.sub(elsewhere, problem.get("detail", "")),
            }
            for problem, at in zip(listed, fields, strict=True)
        ]

    def _described(self, at: str, lines: dict[str, str]) -> str:
        match = _WITHIN.fullmatch(at)
        if match is None or at not in lines:
            return ": ".join(filter(None, (lines.get(at), at)))
        kind, key = _NAMED_BY.get(match["section"], ("", ""))
        entry = self.sections[match["section"]][int(match["position"])]
        name = entry.get(key) if isinstance(entry, dict) else None
        position = self._entries[match["section"], int(match["position"])].path[-1]
        which = f"{kind} {name}" if isinstance(name, str) and name else f"{match['section']}[{position}]"
        return ": ".join(filter(None, (lines[at], which, match["rest"].removeprefix("."))))

    def _lines(self, fields: Iterable[str]) -> dict[str, str]:
        """FILE:LINE of each field from a file."""
        meant = {at: origin for at in fields if (origin := self._origin(at)) is not None}
        by_source: dict[int, list[Origin]] = defaultdict(list)
        for origin in meant.values():
            by_source[id(origin.source)].append(origin)
        lines = {number: _find(origins) for number, origins in by_source.items()}
        return {
            at: f"{origin.source.name}:{lines[id(origin.source)][origin.path]}"
            for at, origin in meant.items()
        }

    def _origin(self, at: str) -> Origin | None:
        match = _WITHIN.fullmatch(at)
        if match is None:
            return self._sections.get(at)
        entry = self._entries.get((match["section"], int(match["position"])))
        return entry and Origin(entry.source, (*entry.path, *places.steps(match["rest"])))


def _find(origins: Sequence[Origin]) -> dict[places.Path, int]:
    source = origins[0].source
    return places.find_lines(source.text, is_json=source.is_json, wanted=[origin.path for origin in origins])


def _line(origin: Origin) -> int:
    return _find([origin])[origin.path]


def load(
    paths: Sequence[str], *, recursive: bool = False, variables: bool = True, empty: bool = False
) -> Document:
    """Read files, YAML and JSON files of folders, and `-` for standard input. Raises one Failure with all errors.

    `variables`: put in those of the environment. `empty`: the files may declare nothing.
    """
    document = Document()
    wrong: list[str] = []
    environment = os.environ if variables else None
    for source in read_sources(paths, recursive=recursive, empty=empty):
        try:
            for number, content in enumerate(source.documents(environment)):
                document.add(source, content, number)
        except Failure as failure:
            wrong.append(str(failure))
    if wrong:
        found = f"{len(wrong)} files have problems\n  " if len(wrong) > 1 else ""
        raise Failure(found + "\n  ".join(wrong))
    if not (empty or document.sections):
        names = (STANDARD_INPUT if path == "-" else path for path in paths)
        raise Failure(f"{', '.join(names)}: nothing is declared there")
    return document
