"""Answers on the screen: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import yaml
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headgate.cli.kinds import Kind, Row
from headgate.cli.layout import fit, wrap_words
from headgate.cli.yaml_values import is_text

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

_NO_BOUND = 1_000_000
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C if PyYAML was built with it."""


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Also quotes texts that are numbers in YAML 1.2 only, such as 1e3: PyYAML knows YAML 1.1."""


def _text(dumper: Any, text: str) -> Any:
    style = None if is_text(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


class Output(StrEnum):
    """The format of an answer."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def print_json(value: object) -> None:
    """Indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not holds_unicode()) + "\n")


def print_yaml(value: object) -> None:
    """YAML in the order of the fields."""
    sys.stdout.write(yaml_text(value, unicode=holds_unicode()))


def yaml_text(value: object, *, unicode: bool = True) -> str:
    """The same as text."""
    written: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode)
    return written


def holds_unicode() -> bool:
    """Whether the output can have every character; otherwise JSON and YAML write some as escapes of their own."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def print_kind(kind: Kind, rows: Iterable[Row]) -> None:
    """A table with the columns of a kind."""
    cells = [[cell(row) for cell in kind.columns.values()] for row in rows]
    print_table(list(kind.columns), cells, nothing=f"no {kind.plural}")


def print_table(columns: list[str], rows: Iterable[Iterable[object]], nothing: str = "nothing") -> None:
    """A table if it fits, else a block of lines for each row; a pipe gets lines of any width."""
    words = [[word(value) for value in row] for row in rows]
    if not words:
        print_line((nothing, "dim"))
        return
    widths = fit(columns, words, screen_width())
    if widths is None:
        _print_blocks(columns, words)
    elif screen_width() == _NO_BOUND:
        print_aligned([columns, *words], widths)
    else:
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column, overflow="fold", width=width)
        for row in words:
            table.add_row(*(Text(*styled(one)) for one in row))
        _console().print(table)


def _print_blocks(columns: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Each row as lines with a column's name and its value, without empty values."""
    label = max(map(len, columns)) + 2
    for number, row in enumerate(rows):
        if number:
            print_line("")
        for column, one in zip(columns, row, strict=True):
            if one:
                lines = wrap_words(one, max(10, screen_width() - label))
                text = f"\n{' ' * label}".join(lines)
                print_line((f"{column:<{label}}", "bold"), (text, styled(one)[1]))


def print_aligned(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    """Rows, each on one line of any width."""
    for row in rows:
        padded = (one + " " * (width - cell_len(one)) for one, width in zip(row, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def print_line(*parts: str | tuple[str, str]) -> None:
    """One line of text, or of text with styles."""
    if sys.stdout.isatty():
        _console().print(Text.assemble(*parts), soft_wrap=True)
    else:
        # Without rich, which needs a second for some thousand lines.
        words = (part if isinstance(part, str) else part[0] for part in parts)
        sys.stdout.write("".join(words) + "\n")


def screen_width() -> int:
    """Columns of the terminal; a pipe has no bound."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else _NO_BOUND


def _console() -> Console:
    return Console(file=sys.stdout, width=screen_width(), highlight=False)


def styled(word: str) -> tuple[str, str]:
    """A word with the colour of its meaning."""
    return word, _STYLES.get(word, "")


def without_nothing(value: Any) -> Any:
    """The same without null fields."""
    if isinstance(value, Mapping):
        return {key: without_nothing(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nothing(inner) for inner in value]
    return value


def printable(text: str) -> str:
    """The text without control characters of terminals, because services and callers control some of it."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def word(value: object) -> str:
    """The text of a value in a table cell."""
    return "" if value is None or value is False else "yes" if value is True else printable(str(value))
