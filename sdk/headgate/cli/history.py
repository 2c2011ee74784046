"""The history of the configuration: changes, differences of two revisions, and rollback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headgate.cli.api import AdminApi, ApiError, as_option
from headgate.cli.render import print_table

Row = Mapping[str, Any]


def history(api: AdminApi, most: int) -> list[dict[str, Any]]:
    """The latest changes, the newest first."""
    found: list[dict[str, Any]] = api.get("history", query={"limit": str(most)})
    return found


def print_history(records: Sequence[Row]) -> None:
    """A line for each."""
    print_table(
        ["REVISION", "TIME", "AUTHOR", "CHANGE"],
        [[row["revision"], row["time"], row["author"], row["summary"]] for row in records],
        nothing="no changes on record",
    )


def diff(api: AdminApi, old: int, new: int) -> list[dict[str, Any]]:
    """The difference between two revisions."""
    found: list[dict[str, Any]] = api.get("diff", query={"from": str(old), "to": str(new)})
    return found


def rollback(api: AdminApi, to: int, *, users: bool, dry_run: bool, force: bool = False) -> dict[str, Any]:
    """Roll back; returns the receipt."""
    content = json.dumps({"to": to, **({"users": True} if users else {})}).encode()
    query = {name: "true" for name, on in (("dry_run", dry_run), ("force", force)) if on}
    try:
        receipt: dict[str, Any] = api.post("rollback", content=content, query=query)
    except ApiError as refused:
        raise as_option(refused) from refused
    return receipt
