"""Widths of tables: words stay whole, and what cannot fit is no table."""

from __future__ import annotations

import pytest

from headgate.cli.layout import fit, wrap_words

ROWS = [["orders", "GET, POST, DELETE", "orders:read orders:write"]]


def test_all_of_it_where_there_is_room() -> None:
    assert fit(["A", "B", "C"], ROWS, 80) == [6, 17, 24]


def test_cells_wrap_between_words() -> None:
    widths = fit(["A", "B", "C"], ROWS, 40)
    assert widths is not None
    assert sum(widths) + 4 == 40
    assert (widths[0], widths[1] >= 7, widths[2] >= 12) == (6, True, True)


def test_words_that_do_not_fit_side_by_side_make_no_table() -> None:
    assert fit(["A", "B", "C"], ROWS, 27) is None
    assert fit(["A", "B", "C"], ROWS, 28) == [6, 6, 12]


def test_characters_of_two_columns_count_twice() -> None:
    assert fit(["A"], [["注文"]], 80) == [4]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a bb ccc", 8, ["a bb ccc"]),
        ("a bb ccc", 4, ["a bb", "ccc"]),
        ("a https://long.example/x b", 5, ["a", "https://long.example/x", "b"]),
        ("", 5, [""]),
    ],
)
def test_lines_of_whole_words(text: str, width: int, lines: list[str]) -> None:
    assert wrap_words(text, width) == lines
