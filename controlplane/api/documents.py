"""Documents as they arrive: bytes of JSON or YAML to plain values, bounded and strict.

Both refuse content that a reader would overlook: a key given twice, NaN, values nested too deeply. YAML is built here
from the parser's events instead of with PyYAML's loaders, for three reasons: those recurse in C and crash the process
on deep nesting, they take aliases without counting what they expand to, and they read YAML 1.1, where the key `on` is a
boolean. Scalars follow the core schema of YAML 1.2.2 (§10.3.2).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

MOST_DEPTH = 64
MOST_VALUES = 400_000
"""Keys and values in one document, those that aliases repeat counted each time: some 20,000 routes."""


class MalformedDocument(Exception):
    """Bytes that are not a document; the message says where and why."""


def parse_json(text: str) -> object:
    """Read JSON (RFC 8259); raises MalformedDocument."""
    try:
        value = _read_json(text)
        if "\\u" in text:
            # Half of a surrogate pair is no character, and could not be written anywhere.
            # Piece by piece: nothing else would run meanwhile.
            for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
                piece.encode()
    except json.JSONDecodeError as error:
        raise MalformedDocument(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError:
        raise MalformedDocument("a \\u escape is half of a surrogate pair") from None
    except RecursionError:
        raise MalformedDocument("nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise MalformedDocument(str(error).partition(";")[0]) from None
    return value


def _read_json(text: str) -> object:
    count = 0

    def make(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal count
        count += 1 + 2 * len(pairs)
        if count > MOST_VALUES:
            raise MalformedDocument(f"more than {MOST_VALUES} values")
        return _unique(pairs)

    return json.loads(text, object_pairs_hook=make, parse_constant=_no_constant, parse_float=_finite)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise MalformedDocument(f"key {key!r} is given twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> object:
    raise MalformedDocument(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedDocument(f"{text[:40]} is out of range")
    return number


def parse_yaml(text: str) -> object:
    """Read one YAML document; raises MalformedDocument."""
    try:
        return _Builder().build(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        raise MalformedDocument(f"{error.problem}{_place(error.problem_mark)}") from None
    except yaml.reader.ReaderError as error:
        raise MalformedDocument(f"{error.reason} at character {error.position}") from None


class _Mark(Protocol):
    line: int
    column: int


def _place(mark: _Mark | None) -> str:
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


@dataclass
class _Open:
    """A collection that is being read."""

    value: dict[str, object] | list[object]
    anchor: str | None
    key: str | None = None
    merging: bool = False
    """Whether the key is the bare `<<`: quoted, it is a text like any other."""
    merged: list[dict[str, object]] = field(default_factory=list)


class _Builder:
    """Builds the value of one document from the events of the parser, with a stack instead of recursion."""

    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[object, int]] = {}
        self.starts: list[int] = []
        self.count = 0
        self.documents = 0
        self.result: object = None

    def build(self, events: Iterator[yaml.Event]) -> object:
        for event in events:
            self._take(event)
        return self.result

    def _take(self, event: yaml.Event) -> None:
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
                self.documents += 1
                if self.documents > 1:
                    raise self._wrong("a second document begins", event)
            case _:
                pass

    def _wrong(self, detail: str, event: yaml.Event) -> MalformedDocument:
        return MalformedDocument(detail + _place(event.start_mark))

    def _counted(self, more: int, event: yaml.Event) -> None:
        self.count += more
        if self.count > MOST_VALUES:
            raise self._wrong(f"more than {MOST_VALUES} values", event)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._counted(1, event)
        top = self.stack[-1] if self.stack else None
        is_key = top is not None and isinstance(top.value, dict) and top.key is None
        value = event.value if is_key else self._resolve(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        if is_key:
            self.stack[-1].key = self._fresh_key(event)
        else:
            self._place_value(value, event)

    def _fresh_key(self, event: yaml.ScalarEvent) -> str:
        top = self.stack[-1]
        assert isinstance(top.value, dict)
        top.merging = event.value == "<<" and event.tag is None and event.implicit[0]
        if top.merged if top.merging else event.value in top.value:
            raise self._wrong(f"key {event.value!r} is given twice in one mapping", event)
        return str(event.value)

    def _resolve(self, event: yaml.ScalarEvent) -> object:
        if event.tag not in (None, "!", *_TAGS):
            raise self._wrong(f"tag {event.tag!r} is not known", event)
        if event.tag == _TAGS[0] or event.tag == "!" or not event.implicit[0]:
            return event.value
        try:
            return _plain(event.value)
        except (ValueError, MalformedDocument) as error:
            raise self._wrong(str(error).partition(";")[0], event) from None

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            # Also an alias within its own anchor, which would make a value without end.
            raise self._wrong(f"alias {event.anchor!r} has no complete anchor before it", event)
        value, size = self.anchors[event.anchor]
        self._counted(size, event)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise self._wrong("a key must be text, not an alias", event)
        self._place_value(value, event)

    def _open(self, value: dict[str, object] | list[object], event: yaml.CollectionStartEvent) -> None:
        self._counted(1, event)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise self._wrong("a key must be text", event)
        if event.tag not in (None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._wrong(f"tag {event.tag!r} is not known", event)
        if len(self.stack) >= MOST_DEPTH:
            raise self._wrong(f"nested deeper than {MOST_DEPTH}", event)
        self.stack.append(_Open(value, event.anchor))
        self.starts.append(self.count)

    def _close(self, event: yaml.Event) -> None:
        done, start = self.stack.pop(), self.starts.pop()
        if isinstance(done.value, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, self.count - start + 1)
        self._place_value(done.value, event)

    def _place_value(self, value: object, event: yaml.Event) -> None:
        if not self.stack:
            self.result = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        assert top.key is not None
        if top.merging:
            top.merged = self._mappings(value, event)
        else:
            top.value[top.key] = value
        top.key = None

    def _mappings(self, value: object, event: yaml.Event) -> list[dict[str, object]]:
        several = value if isinstance(value, list) else [value]
        mappings = [item for item in several if isinstance(item, dict)]
        if len(mappings) < len(several):
            raise self._wrong("<< takes a mapping or a list of mappings", event)
        return mappings


_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))

_CORE: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"(null|Null|NULL|~|)"), lambda _: None),
    (re.compile(r"(true|True|TRUE)"), lambda _: True),
    (re.compile(r"(false|False|FALSE)"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), _finite),
)


def _plain(text: str) -> object:
    if text[:1] in _TEXT_STARTS:
        return text
    for pattern, make in _CORE:
        if pattern.fullmatch(text):
            return make(text)
    return text


_TEXT_STARTS = frozenset("/abcdeghijklmopqrsuvwxyzABCDEGHIJKLMOPQRSUVWXYZ_")
"""No null, boolean or number begins with these (nor is empty), so most texts skip the patterns."""
