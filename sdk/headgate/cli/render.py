"""Answers on the screen: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headgate.cli.kinds import Kind, Row

_STYLES = {
    "healthy": "green",
    "closed": "green",
    "connected": "green",
    "create": "green",
    "starting": "yellow",
    "half_open": "yellow",
    "draining": "yellow",
    "update": "yellow",
    "unhealthy": "red",
    "open": "red",
    "gone": "red",
    "delete": "red",
}


class Output(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def print_json(value: object) -> None:
    """Indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_yaml(value: object) -> None:
    """YAML in the order of the fields."""
    yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)


def print_kind(kind: Kind, rows: Iterable[Row]) -> None:
    """A table with the columns of a kind."""
    cells = [[cell(row) for cell in kind.columns.values()] for row in rows]
    print_table(list(kind.columns), cells, nothing=f"no {kind.plural}")


def print_table(columns: list[str], rows: Iterable[Iterable[object]], nothing: str = "nothing") -> None:
    """A table; a pipe gets every line whole, whatever its width."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    console().print(table if table.row_count else Text(nothing, style="dim"))


def print_line(*parts: str | tuple[str, str]) -> None:
    """One line of text, or of text with styles."""
    console().print(Text.assemble(*parts), soft_wrap=True)


def console() -> Console:
    """The screen as it is now: tests and pipes replace it."""
    wide = None if sys.stdout.isatty() else 10_000
    return Console(file=sys.stdout, width=wide, highlight=False)


def styled(word: str) -> tuple[str, str]:
    """A word with the colour of its meaning."""
    return word, _STYLES.get(word, "")


def without_nothing(value: Any) -> Any:
    """The same without fields that are null, which say nothing to a reader."""
    if isinstance(value, Mapping):
        return {key: without_nothing(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nothing(inner) for inner in value]
    return value


def printable(text: str) -> str:
    """The text without characters that a terminal would obey: services and callers have a say in some of it."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _text(value: object) -> Text:
    word = (
        {None: "", True: "yes", False: ""}[value] if value is None or isinstance(value, bool) else str(value)
    )
    return Text(printable(word), style=_STYLES.get(word, ""))
