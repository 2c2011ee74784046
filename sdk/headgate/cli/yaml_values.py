"""YAML read as the control plane reads it: the core schema of YAML 1.2 (§10.3.2), each key once, and bounded.

Values are built from the parser's events, not with PyYAML's loaders: those read YAML 1.1, in which the key `on` is a
boolean, recurse in C, and take twenty times as long for a large file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_DEPTH = 64
MOST_VALUES = 1_000_000
"""Bound on keys and values in one file, including each repetition by an alias; it bounds memory."""

MOST_TEXT = 64 * 1024 * 1024
"""Characters of them, counted likewise: one long text that is repeated often would fill the memory as JSON."""

Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C if PyYAML was built with it."""


class MalformedYaml(Exception):
    """Text that is not in the accepted subset of YAML; `line` and `column` count from 1."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.line = line
        self.column = column


Change = Callable[[str, tuple[str | int, ...], int], str]
"""Changes the text of a scalar; also its path in the document, and its line."""


def read_yaml(text: str, change: Change | None = None) -> list[object]:
    """The value of each document. Raises MalformedYaml.

    `change` is applied to scalars that hold a `$`, before an unquoted one becomes a number, a boolean or null.
    """
    try:
        return _Builder(change).build(yaml.parse(text, Loader=Parser))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise MalformedYaml(_in_words(str(error.problem)), line, column) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = len(before) - (before.rfind("\n") + 1) + 1
        raise MalformedYaml(
            "a control character is not allowed here", before.count("\n") + 1, column
        ) from error


_PROBLEMS = {
    "mapping values are not allowed": "a ':' is not allowed here: put text that holds one in quotes",
    "expected key": "the line is not indented as those beside it",
    "'-' indicator": "the line is not indented as those beside it",
    "block end": "the line is not indented as those beside it",
    "cannot start any token": "no value begins with this character (lines are indented with spaces, not tabs)",
    "expected ',' or ']'": "a ',' or ']' is missing",
    "expected ',' or '}'": "a ',' or '}' is missing",
    "expected ':'": "a ':' is missing, or a quote is not closed",
    "unexpected end of stream": "the file ends within a quoted text",
    "expected node content": "a value is missing",
    "<document start>": "something follows the end of the document: put --- between documents",
}
"""Texts in the parser's messages, and their meaning; the first match counts."""


def _in_words(problem: str) -> str:
    return next((words for sign, words in _PROBLEMS.items() if sign in problem), problem)


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    value: dict[str, object] | list[object]
    anchor: str | None
    start: tuple[int, int]
    """How many values came before it, and how much text."""
    key: str | None = None
    merging: bool = False
    """Whether the key is an unquoted `<<`; a quoted one is ordinary text."""
    merged: list[dict[str, object]] = field(default_factory=list)


class _Builder:
    """Builds values with a stack instead of recursion."""

    def __init__(self, change: Change | None = None) -> None:
        self.change = change
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[object, int, int]] = {}
        self.count = self.text = 0
        self.documents: list[object] = []

    def build(self, events: Iterator[yaml.Event]) -> list[object]:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.MappingStartEvent():
                    self._open({}, event)
                case yaml.SequenceStartEvent():
                    self._open([], event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close(event)
                case yaml.DocumentStartEvent():
                    self.anchors.clear()
        return self.documents

    def _wrong(self, problem: str, event: yaml.Event) -> MalformedYaml:
        mark: Any = event.start_mark
        return MalformedYaml(problem, mark.line + 1, mark.column + 1)

    def _counted(self, more: int, text: int, event: yaml.Event) -> None:
        self.count += more
        self.text += text
        if self.count > MOST_VALUES:
            raise self._wrong(f"more than {MOST_VALUES} values", event)
        if self.text > MOST_TEXT:
            raise self._wrong(f"more than {MOST_TEXT >> 20} MiB of text, with what aliases repeat", event)

    def _path(self) -> tuple[str | int, ...]:
        """Of the value that comes next."""
        return tuple(len(one.value) if isinstance(one.value, list) else str(one.key) for one in self.stack)

    def _at_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].key is None and isinstance(self.stack[-1].value, dict)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        is_key = self._at_key()
        if self.change is not None and not is_key and "$" in event.value:
            mark: Any = event.start_mark
            event.value = self.change(event.value, self._path(), mark.line + 1)
        self._counted(1, len(event.value), event)
        value = event.value if is_key else self._resolve(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1, len(event.value))
        if is_key:
            self._take_key(event)
        else:
            self._add(value, event)

    def _take_key(self, event: yaml.ScalarEvent) -> None:
        top = self.stack[-1]
        top.merging = event.value == "<<" and event.tag is None and event.implicit[0]
        if top.merged if top.merging else event.value in top.value:
            raise self._wrong(f"key {event.value!r} is given twice in one object", event)
        top.key = str(event.value)

    def _resolve(self, event: yaml.ScalarEvent) -> object:
        if event.tag not in (None, "!", *_TAGS):
            raise self._wrong(f"tag {event.tag!r} is not known", event)
        if event.tag in ("!", _TAGS[0]) or not event.implicit[0]:
            return event.value
        try:
            return _plain(event.value)
        except ValueError:  # Python limits the digits of an integer
            raise self._wrong("a number with so many digits cannot be read", event) from None

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            # Also an alias within its own anchor, which would make an infinite value.
            raise self._wrong(f"alias {event.anchor!r} has no complete anchor before it", event)
        value, size, text = self.anchors[event.anchor]
        self._counted(size, text, event)
        if self._at_key():
            raise self._wrong("a key must be text, not an alias", event)
        self._add(value, event)

    def _open(self, value: dict[str, object] | list[object], event: yaml.CollectionStartEvent) -> None:
        self._counted(1, 0, event)
        if self._at_key():
            raise self._wrong("a key must be text", event)
        if event.tag not in (None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._wrong(f"tag {event.tag!r} is not known", event)
        if len(self.stack) >= MOST_DEPTH:
            raise self._wrong(f"nested deeper than {MOST_DEPTH}", event)
        self.stack.append(_Open(value, event.anchor, (self.count, self.text)))

    def _close(self, event: yaml.Event) -> None:
        done = self.stack.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                done.value |= {key: value for key, value in merged.items() if key not in done.value}
        if done.anchor is not None:
            count, text = self.count - done.start[0] + 1, self.text - done.start[1]
            self.anchors[done.anchor] = (done.value, count, text)
        self._add(done.value, event)

    def _add(self, value: object, event: yaml.Event) -> None:
        if not self.stack:
            self.documents.append(value)
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if top.merging:
            top.merged = self._mappings(value, event)
        else:
            top.value[str(top.key)] = value
        top.key = None

    def _mappings(self, value: object, event: yaml.Event) -> list[dict[str, object]]:
        several = value if isinstance(value, list) else [value]
        mappings = [item for item in several if isinstance(item, dict)]
        if len(mappings) < len(several):
            raise self._wrong("<< takes an object or a list of objects", event)
        return mappings


_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))

_CORE: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"(null|Null|NULL|~|)"), lambda _: None),
    (re.compile(r"(true|True|TRUE)"), lambda _: True),
    (re.compile(r"(false|False|FALSE)"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)


def is_text(text: str) -> bool:
    """Whether it is read as a text if it is not quoted."""
    try:
        return isinstance(_plain(text), str)
    except ValueError:
        return False


def _plain(text: str) -> object:
    if text[:1] in _TEXT_STARTS:
        return text
    for pattern, make in _CORE:
        if pattern.fullmatch(text):
            return make(text)
    return text


_TEXT_STARTS = frozenset("/abcdeghijklmopqrsuvwxyzABCDEGHIJKLMOPQRSUVWXYZ_")
"""No null, boolean or number begins with these characters (or is empty), so most texts skip the patterns."""
