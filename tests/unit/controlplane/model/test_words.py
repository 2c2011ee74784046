"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from controlplane.model.words import count


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "resource", "0 resources"),
        (1, "data plane", "1 data plane"),
        (2, "data plane", "2 data planes"),
        (1, "entry", "1 entry"),
        (3, "entry", "3 entries"),
    ],
)
def test_a_number_with_its_noun(number: int, noun: str, told: str) -> None:
    assert count(number, noun) == told
