"""What a document changes: sent, or compared with what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headgate.cli.api import AdminApi, ApiError
from headgate.cli.documents import Document, load
from headgate.cli.kinds import find_kind
from headgate.cli.render import print_line, printable, styled

_MARKS = {"create": "+", "update": "~", "delete": "-"}
_DONE = {"create": "created", "update": "updated", "delete": "deleted"}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that would be different."""

    field: str
    now: object
    then: object


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """One resource that would be different."""

    action: str
    kind: str
    name: str
    fields: tuple[FieldChange, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def send(api: AdminApi, paths: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
    """Apply files; returns the receipt. Problems name the file where there are several."""
    return _send(api, load(paths), dry_run=dry_run)


def _send(api: AdminApi, document: Document, *, dry_run: bool) -> dict[str, Any]:
    query = {"dry_run": "true"} if dry_run else None
    try:
        receipt: dict[str, Any] = api.post("apply", content=document.as_json(), query=query)
    except ApiError as refused:
        errors = [{**error, "field": document.place(error.get("field", ""))} for error in refused.errors]
        raise ApiError(refused.status, refused.detail, errors) from refused
    return receipt


def print_edits(edits: Sequence[Mapping[str, Any]]) -> None:
    """What the control plane says became of resources, field by field."""
    for edit in edits:
        mark = (_MARKS.get(edit["action"], "?"), styled(edit["action"])[1])
        print_line(mark, f" {edit['kind']} {edit['name']}{' (password set)' if edit.get('password') else ''}")
        for field in edit["fields"]:
            print_line(f"    {printable(field['field'])}: {field['before']!r} -> {field['after']!r}")
    if not edits:
        print_line("No difference")


def compare(api: AdminApi, paths: Sequence[str]) -> list[ResourceChange]:
    """What would change, by a dry run; for updates, the fields that the files say otherwise than they are."""
    document = load(paths)
    changes = _send(api, document, dry_run=True)["changes"]
    return [
        ResourceChange(
            change["action"],
            change["kind"],
            change["name"],
            _fields(api, document, change) if change["action"] == "update" else (),
        )
        for change in changes
        if change["action"] != "unchanged"
    ]


def _fields(api: AdminApi, document: Document, change: Mapping[str, str]) -> tuple[FieldChange, ...]:
    kind = find_kind(change["kind"])
    entries = document.sections.get(kind.section, ())
    named = (entry for entry in entries if entry.get(kind.key) == change["name"])
    stated: dict[str, Any] = next(named, {})
    return tuple(_differences(api.get(*kind.path, change["name"]), stated, ""))


def _differences(now: Mapping[str, Any], then: Mapping[str, Any], at: str) -> list[FieldChange]:
    found: list[FieldChange] = []
    for name, value in then.items():
        if name not in ("password", "password_hash"):
            found += _difference(now.get(name), value, f"{at}{name}")
    return found


def _difference(now: Any, then: Any, at: str) -> list[FieldChange]:
    """Only what the files say counts: the control plane shows defaults, too."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        return _differences(now, then, f"{at}.")
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = enumerate(zip(now, then, strict=True))
        return [change for i, (old, new) in pairs for change in _difference(old, new, f"{at}[{i}]")]
    return [] if now == then else [FieldChange(at, now, then)]


def print_receipt(
    receipt: Mapping[str, Any], *, dry_run: bool, done: str = "Applied", nothing: str = "nothing declared"
) -> None:
    """What was done, a line each, and a summary."""
    changes = receipt["changes"]
    for change in changes:
        if change["action"] != "unchanged":
            mark = (_MARKS.get(change["action"], "?"), styled(change["action"])[1])
            print_line(mark, f" {change['kind']} {change['name']}")
    counted = Counter(change["action"] for change in changes)
    summary = ", ".join(f"{count} {_DONE.get(action, action)}" for action, count in counted.items())
    if dry_run:
        print_line(f"Dry run, nothing was changed: {summary or nothing}")
    else:
        print_line(f"{done} at revision {receipt['revision']}: {summary or nothing}")
    for warning in receipt.get("warnings") or ():
        print_line(f"Warning: {printable(warning['field'])}: {printable(warning['detail'])}")
    if receipt.get("unfinished"):
        print_line(receipt["unfinished"])


def print_comparison(changes: Sequence[ResourceChange]) -> None:
    """What would be done."""
    for change in changes:
        print_line(
            (_MARKS.get(change.action, "?"), styled(change.action)[1]), f" {change.kind} {change.name}"
        )
        for field in change.fields:
            print_line(f"    {field.field}: {field.now!r} -> {field.then!r}")
        if change.action == "update" and not change.fields:
            print_line("    by what the files leave out, or keep secret")
    if not changes:
        print_line("Nothing would change")
