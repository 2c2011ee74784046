"""What fuzzing began with and what it found: each piece of the corpus holds, as quickly as any other test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.oracle import check_request, check_response

CORPUS = Path(__file__).parents[3] / "fuzz" / "corpus"


@pytest.mark.parametrize("seed", sorted((CORPUS / "request").iterdir()), ids=lambda path: path.name)
def test_requests(seed: Path) -> None:
    check_request(seed.read_bytes())


@pytest.mark.parametrize("seed", sorted((CORPUS / "response").iterdir()), ids=lambda path: path.name)
def test_responses(seed: Path) -> None:
    check_response(seed.read_bytes())
