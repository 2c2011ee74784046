"""Every test that docs/reference/oauth.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    line
    for line in (ROOT / "docs" / "reference" / "oauth.md").read_text().splitlines()
    if line.startswith("| ")
]


def named() -> list[tuple[str, str]]:
    """File and test of every reference; `…` stands for the file before."""
    found, file = [], ""
    for place in re.findall(r"`((?:[\w/]+\.py|…)(?:(?:::|_)\w+)?)`", "\n".join(ROWS)):
        path, _, test = place.partition("::")
        if path.endswith(".py"):
            file = path
        found.append((file, test))
    return [(file, test) for file, test in found if test]


@pytest.mark.parametrize(("file", "test"), named())
def test_it_exists(file: str, test: str) -> None:
    path = ROOT / ("" if file.startswith("tests/") else "tests/unit/controlplane") / file
    assert f"def {test}(" in path.read_text()
