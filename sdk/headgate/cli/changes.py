"""Changes of a document: applied, or compared with the stored configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import CONFLICT
from typing import Any

from headgate.cli.api import AdminApi, ApiError, as_option
from headgate.cli.documents import Document
from headgate.cli.kinds import RESOURCE_KINDS, find_kind
from headgate.cli.pruning import Pruning, with_options
from headgate.cli.render import print_line, printable, styled

_MARKS = {"create": "+", "update": "~", "delete": "-"}
_DONE = {"create": "created", "update": "updated", "delete": "deleted"}

_BYTES_A_SECOND = 100_000
"""Bytes a second that a busy control plane validates; the time-out for a large document is longer by that time."""


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


def send(
    api: AdminApi,
    document: Document,
    *,
    dry_run: bool,
    force: bool = False,
    pruning: Pruning | None = None,
    plan: str = "",
) -> dict[str, Any]:
    """Apply what files declare; returns the receipt. Problems and warnings name the file and line.

    `pruning`: also delete. `plan`: only what the dry run with this digest has shown.
    """
    asked = {"dry_run": dry_run, "force": force}
    query: dict[str, str | Sequence[str]] = {name: "true" for name, on in asked.items() if on}
    query |= pruning.query() if pruning else {}
    query |= {"plan": plan} if plan else {}
    try:
        content = document.as_json()
        patience = len(content) / _BYTES_A_SECOND
        receipt: dict[str, Any] = api.post("apply", content=content, query=query, patience=patience)
    except ApiError as refused:
        located = [{**one, "detail": with_options(one["detail"])} for one in document.located(refused.errors)]
        told = as_option(refused)
        raise ApiError(told.status, told.detail, located, told.members) from refused
    if receipt.get("warnings"):
        receipt["warnings"] = document.located(receipt["warnings"])
    return receipt


def print_edits(edits: Sequence[Mapping[str, Any]]) -> None:
    """The control plane's report on the changed resources, field by field."""
    for edit in edits:
        print_change(edit, edit)
    if not edits:
        print_line("No difference")


def print_change(change: Mapping[str, Any], edit: Mapping[str, Any]) -> None:
    """One change, with the fields of its edit."""
    mark = (_MARKS.get(change["action"], "?"), styled(change["action"])[1])
    print_line(mark, f" {change['kind']} {change['name']}{' (password set)' if edit.get('password') else ''}")
    for field in edit.get("fields") or ():
        print_line(f"    {printable(field['field'])}: {field['before']!r} -> {field['after']!r}")


def _tried(api: AdminApi, document: Document, pruning: Pruning | None) -> dict[str, Any]:
    try:
        return send(api, document, dry_run=True, pruning=pruning)
    except ApiError as refused:
        if refused.status != CONFLICT:
            raise
        # Needs --force. Only a control plane that asks for it knows the parameter.
        return send(api, document, dry_run=True, force=True, pruning=pruning)


def compare(api: AdminApi, document: Document, pruning: Pruning | None = None) -> list[ResourceChange]:
    """Changes found by a dry run; for updates, the fields whose values differ from the files."""
    changes = _tried(api, document, pruning)["changes"]
    updates = [change for change in changes if change["action"] == "update"]
    there, stated = _present(api, updates), _stated(document)
    return [
        ResourceChange(
            change["action"],
            change["kind"],
            change["name"],
            tuple(_differences(there[key], stated.get(key, {}), "")) if key in there else (),
        )
        for change in changes
        if change["action"] != "unchanged"
        for key in [(change["kind"], change["name"])]
    ]


_FEW = 10
"""Up to this number, resources of a kind are read one by one; above it, all of the kind are read at once."""


def _present(api: AdminApi, changes: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The current state of the resources of these changes."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, count in Counter(change["kind"] for change in changes).items():
        kind = find_kind(name)
        if count > _FEW:
            found |= {(name, row[kind.key]): row for row in api.get(*kind.path)}
        else:
            names = (change["name"] for change in changes if change["kind"] == name)
            found |= {(name, one): api.get(*kind.path, one) for one in names}
    return found


def _stated(document: Document) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (kind.resource, str(entry[kind.key])): entry
        for kind in RESOURCE_KINDS
        for entry in document.sections.get(kind.section) or ()
        if isinstance(entry, dict) and kind.key in entry
    }


def _differences(now: Mapping[str, Any], then: Mapping[str, Any], at: str) -> list[FieldChange]:
    found: list[FieldChange] = []
    for name, value in then.items():
        if name not in ("password", "password_hash"):
            found += _difference(now.get(name), value, f"{at}{name}")
    return found


def _difference(now: Any, then: Any, at: str) -> list[FieldChange]:
    """Only fields in the files count, because the control plane also shows defaults."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        return _differences(now, then, f"{at}.")
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = enumerate(zip(now, then, strict=True))
        return [change for i, (old, new) in pairs for change in _difference(old, new, f"{at}[{i}]")]
    return [] if now == then else [FieldChange(at, now, then)]


def print_receipt(
    receipt: Mapping[str, Any], *, dry_run: bool, done: str = "Applied", nothing: str = "nothing declared"
) -> None:
    """The changes, one on each line, and a summary."""
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
    print_warnings(receipt)
    print_unfinished(receipt)


def print_warnings(receipt: Mapping[str, Any]) -> None:
    """Values that are allowed, but probably mistakes."""
    for warning in receipt.get("warnings") or ():
        print_line(f"Warning: {printable(warning['field'])}: {printable(warning['detail'])}")


def print_unfinished(receipt: Mapping[str, Any]) -> None:
    """A note about a change that is decided, but not completed yet."""
    if receipt.get("unfinished"):
        print_line(receipt["unfinished"])


def print_comparison(changes: Sequence[ResourceChange]) -> None:
    """The changes that would be made."""
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
