"""Every requirement in docs/reference/http-conformance.md names tests, and each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "http-conformance.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [0-9]", line)]
TESTS = sorted({named for row in ROWS for named in re.findall(r"`([\w/.]+: [^`]+)`", row[-1])})


def test_every_row_has_its_four_cells_and_a_test() -> None:
    for row in ROWS:
        assert len(row) == 4, row
        assert re.search(r"`[\w/.]+: ", row[3]) or row[3].startswith("n/a: "), row
    assert len(ROWS) > 80


@pytest.mark.parametrize("named", TESTS)
def test_the_test_is_there(named: str) -> None:
    file, _, name = named.partition(": ")
    path = f"tests/{file}" if file.endswith(".py") else f"tests/integration/http/test_{file}.py"
    source = (ROOT / path).read_text()
    wanted = f"    {name}: " if name.startswith('"') else f"def {name}("
    assert wanted in source, f"{path} has no {name}"
