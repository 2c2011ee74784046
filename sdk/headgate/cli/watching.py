"""get --watch: all resources, and then a line for each one that is created, changed or deleted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from time import sleep
from typing import Any

import typer

from headgate.cli.api import ApiError, Unreachable
from headgate.cli.failure import INTERRUPTED, Absent, Failure
from headgate.cli.kinds import Kind
from headgate.cli.layout import fit
from headgate.cli.render import holds_unicode, print_aligned, screen_width, word

PAUSE = 2.0
"""Seconds between two questions."""

Row = Mapping[str, Any]


Fetch = Callable[[], Sequence[Row] | None]
"""Returns all rows, or None if they are the same as before."""


def watch(fetch: Fetch, kind: Kind, *, as_json: bool) -> None:
    """Show the results of `fetch` repeatedly, until Ctrl-C. Raises Failure if the first call fails, or for a 403."""
    printer = _Lines() if as_json else _Table(kind)
    known: dict[str, Row] | None = None
    answered = True
    try:
        while True:
            try:
                now = _asked(fetch, kind, known)
            except Failure as failure:
                if failure.exit_code == INTERRUPTED:
                    return
                if known is None or not _may_pass(failure):
                    raise
                if answered:
                    typer.echo(f"headgate: {failure}; still trying", err=True)
                answered = False
            else:
                answered = True
                if now is not None:
                    _show(printer, known or {}, now)
                    known = now
            sleep(PAUSE)
    except KeyboardInterrupt:
        return


def _asked(fetch: Fetch, kind: Kind, known: Mapping[str, Row] | None) -> dict[str, Row] | None:
    try:
        rows = fetch()
        return None if rows is None else {_name(kind, row): row for row in rows}
    except Absent:
        if known is None:
            raise
        return {}  # it was there: that it went is a change as well


def _name(kind: Kind, row: Row) -> str:
    # Instances of two services may have the same id.
    return f"{row.get('service_name', '')}/{row[kind.key]}"


def _may_pass(failure: Failure) -> bool:
    return isinstance(failure, Unreachable) or (isinstance(failure, ApiError) and failure.status >= 500)


def _show(printer: _Lines | _Table, before: Mapping[str, Row], now: Mapping[str, Row]) -> None:
    changed = [row for name, row in now.items() if before.get(name) != row]
    gone = [row for name, row in before.items() if name not in now]
    printer.show(changed, gone)
    sys.stdout.flush()


class _Lines:
    """For programs: one object on each line, with `deleted` beside the resource."""

    def show(self, changed: list[Row], gone: list[Row]) -> None:
        for row, deleted in (*((row, False) for row in changed), *((row, True) for row in gone)):
            value = {"deleted": deleted, "object": row}
            sys.stdout.write(json.dumps(value, ensure_ascii=not holds_unicode()) + "\n")


class _Table:
    """As text: columns have the widths of the first rows, and grow if needed."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._columns = ["", *kind.columns]
        self._widths: list[int] = []

    def show(self, changed: list[Row], gone: list[Row]) -> None:
        cells = self._kind.columns.values()
        rows = [["", *map(word, (cell(row) for cell in cells))] for row in changed]
        rows += [["gone", *map(word, (cell(row) for cell in cells))] for row in gone]
        first = not self._widths
        if first:
            rows = [self._columns, *rows]
        if rows:
            widths = fit(self._columns, [["gone", *row[1:]] for row in rows], screen_width())
            found = widths or [len(column) for column in self._columns]
            self._widths = [max(pair) for pair in zip(found, self._widths or found, strict=True)]
            print_aligned(rows, self._widths)
