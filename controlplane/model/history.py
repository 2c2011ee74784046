"""Records of changes: author, time, and the documents before and after; and views derived from them.

A record lies in the store beside the configuration, out of the watched prefix: data planes and their watchers do not
need it. It holds no secrets: for a password, only that it was set. Older states are found by undoing records, the
newest first, so that only the changed resources must be known.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.model.base import without_empty
from controlplane.model.resources import Resource, ResourceId, User
from controlplane.model.stored import StoredEntry

PREFIX = "/headgate/history/v1/"
HEAD = f"{PREFIX}head"
"""Bounds of the records: {first, next, bytes}. Every change of configuration expects its revision."""
RECORDS = f"{PREFIX}record/"

MOST_RECORDS = 1000
MOST_BYTES = 8 * 1024 * 1024
"""Of all records together. The oldest go first."""

PACKED_FROM = 8 * 1024
"""Bytes from which the documents of a record are compressed."""
MOST_RECORD_BYTES = 512 * 1024
"""Of one record; some 15,000 routes changed at once. The documents of a greater change are left out: it is listed, and
cannot be undone."""

Stored = bytes
Fields = Mapping[str, Any]
"""A resource as JSON, without secrets."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The effect of a change on one resource."""

    kind: str
    name: str
    before: Fields | None
    """None when there was none, or none that could be read."""
    after: Fields | None
    """None when it was deleted."""
    password: bool = False
    """Whether a password was set."""

    @property
    def action(self) -> str:
        """The action: create, update or delete."""
        return "delete" if self.after is None else "create" if self.before is None else "update"


@dataclass(frozen=True, slots=True)
class Record:
    """One change of the configuration."""

    revision: int
    author: str
    time: float
    """Unix seconds."""
    summary: str
    edits: tuple[Edit, ...]
    actions: tuple[tuple[str, str, str], ...]
    """Action, kind and name of each edit; known even where the documents were left out."""

    @property
    def whole(self) -> bool:
        """Whether the documents are there, so that it can be undone."""
        return len(self.edits) == len(self.actions)


def edit(kind: str, name: str, before: Resource | None, after: Resource | None) -> Edit:
    """The edit that leads from one resource to another."""
    password = isinstance(after, User) and after.password_hash is not None and _hash(before) != _hash(after)
    return Edit(kind, name, fields_of(before), fields_of(after), password)


def fields_of(resource: Resource | None) -> Fields | None:
    """A resource as records hold it."""
    if resource is None:
        return None
    return without_empty(
        resource.model_dump(mode="json", exclude_none=True, exclude={"password", "password_hash"})
    )


def _hash(resource: Resource | None) -> str | None:
    secret = resource.password_hash if isinstance(resource, User) else None
    return secret.get_secret_value() if secret else None


def record_key(number: int) -> str:
    """The key of a record, by its number; sorted as they are numbered."""
    return f"{RECORDS}{number:012d}"


def encode_record(author: str, time: float, summary: str, edits: Sequence[Edit]) -> bytes:
    """The stored form of a record, bounded."""
    head = {"author": author, "time": round(time, 3), "summary": summary}
    changes = [_encoded(one) for one in edits]
    plain = _json(head)[:-1] + b',"changes":' + _json_of_all(changes) + b"}"
    if len(plain) < PACKED_FROM:
        return plain
    whole = _json({**head, "packed": _packed(changes)})
    if len(whole) <= MOST_RECORD_BYTES:
        return whole
    return _json({**head, "left_out": _packed([[one.action, one.kind, one.name] for one in edits])})


def _packed(values: Iterable[object]) -> str:
    return base64.b64encode(zlib.compress(_json_of_all(values))).decode()


def _unpacked(text: str) -> Any:
    # Megabytes of JSON are one call of C, during which no other thread runs, unless Python is called in between.
    return json.loads(zlib.decompress(base64.b64decode(text)), object_hook=_same)


def _same(value: Any) -> Any:
    return value


def _json_of_all(values: Iterable[object]) -> bytes:
    """A list, value by value, for the same reason."""
    return b"[" + b",".join(map(_json, values)) + b"]"


def _encoded(one: Edit) -> dict[str, object]:
    encoded: dict[str, object] = {"kind": one.kind, "name": one.name}
    if one.before is not None:
        encoded["before"] = one.before
    if one.after is not None:
        encoded["after"] = one.after
    return encoded | ({"password": True} if one.password else {})


def decode_record(entry: StoredEntry) -> Record | None:
    """The record in an entry; None if it is not a record."""
    try:
        value = json.loads(entry.value)
        packed = value.get("packed")
        changes = _unpacked(packed) if packed else value.get("changes", [])
        edits = tuple(
            Edit(one["kind"], one["name"], one.get("before"), one.get("after"), one.get("password", False))
            for one in changes
        )
        listed = _unpacked(value["left_out"]) if "left_out" in value else []
        left_out = tuple((action, kind, name) for action, kind, name in listed)
        actions = left_out or tuple((one.action, one.kind, one.name) for one in edits)
        return Record(entry.revision, value["author"], float(value["time"]), value["summary"], edits, actions)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, zlib.error):
        return None


def read_records(entries: Iterable[StoredEntry]) -> list[Record]:
    """The records in a listing, the newest first."""
    found = (record for record in map(decode_record, entries) if record is not None)
    return sorted(found, key=lambda record: record.revision, reverse=True)


@dataclass(frozen=True, slots=True)
class Head:
    """Numbers of the first record that is kept and of the next to come, and the bytes in between."""

    first: int = 1
    next: int = 1
    bytes: int = 0

    @classmethod
    def read(cls, stored: Stored | None) -> Head:
        """The head in its stored form; that of an empty history for anything else."""
        try:
            raw = json.loads(stored or b"{}")
            return cls(int(raw["first"]), int(raw["next"]), int(raw["bytes"]))
        except (ValueError, TypeError, LookupError, RecursionError):
            return cls()

    @property
    def value(self) -> Stored:
        """The stored form."""
        return _json({"first": self.first, "next": self.next, "bytes": self.bytes})

    def too_long(self, more: int) -> bool:
        """Whether the oldest record must be removed before `more` bytes are added."""
        count = self.next - self.first
        return count > 0 and (count >= MOST_RECORDS or self.bytes + more > MOST_BYTES)


class UnknownState(Exception):
    """A state that cannot be derived from the records; the message says why."""


def undone(records: Iterable[Record], revision: int) -> dict[ResourceId, Fields | None]:
    """The state at `revision` of every resource that changed after it; None: absent. `records`: the newest first.

    Raises UnknownState.
    """
    found: dict[ResourceId, Fields | None] = {}
    oldest = None
    for record in records:
        oldest = record.revision
        if record.revision <= revision:
            return found
        if not record.whole:
            raise UnknownState(
                f"the change at revision {record.revision} was too large to be kept, so there is no way back"
            )
        found.update(((one.kind, one.name), one.before) for one in record.edits)
    reach = f"reaches back to revision {oldest}" if oldest else "is empty"
    raise UnknownState(f"the history {reach}, not to {revision}")


def differences(before: Fields, after: Fields, at: str = "") -> Iterator[tuple[str, object, object]]:
    """Field path, old and new value of everything that differs; None: the resource did not exist."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{at}{name}.")
        elif old != new:
            yield f"{at}{name}", old, new


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
