"""The table of bounds names places that exist, and numbers that hold there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "security.md"
ROWS = [
    (match["bound"], match["name"])
    for line in PAGE.read_text().splitlines()
    if (
        match := re.fullmatch(
            r"\| [^|]+ \| (?P<bound>[^|]*) \| `(?P<name>(?:control|data)plane\.[\w.]+)` \|", line
        )
    )
]
UNITS = {"MiB": 1024 * 1024, "KiB": 1024}


def find(name: str) -> object:
    """The module, class or constant of this dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(("bound", "name"), ROWS, ids=[name for _, name in ROWS])
def test_each_bound_is_where_it_says(bound: str, name: str) -> None:
    found = find(name)
    if not isinstance(found, int | float):
        return
    numbers = re.findall(r"([\d,]*\d)(?: (MiB|KiB))?", bound)
    assert found in [float(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in numbers]


def test_the_table_was_found() -> None:
    assert len(ROWS) > 20
