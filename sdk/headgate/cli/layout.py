"""The widths of a table's columns. Pure: words are never broken, and rows that cannot fit are not shown as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

GAP = 1
"""Screen columns between two columns of the table, as rich draws a table without a box."""


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """The width of each column, whose cells wrap between words; None if the longest words do not fit side by side."""
    by_column = list(zip(columns, *rows, strict=True))
    least = [max(_longest_word(cell) for cell in cells) for cells in by_column]
    most = [max(map(cell_len, cells)) for cells in by_column]
    room = width - 2 * GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    return _share(least, most, room - sum(least))


def _share(least: Sequence[int], most: Sequence[int], left: int) -> list[int]:
    """Distribute `left` evenly among the columns that can use it."""
    widths = list(least)
    while left > 0 and (needy := [i for i, width in enumerate(widths) if width < most[i]]):
        each = max(1, left // len(needy))
        for i in needy:
            given = min(each, most[i] - widths[i], left)
            widths[i] += given
            left -= given
    return widths


def wrap_words(text: str, width: int) -> list[str]:
    """Lines of whole words; a word longer than the width gets its own line and is not broken."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _longest_word(text: str) -> int:
    return max(cell_len(word) for word in text.split(" "))
