"""Numbers in paths and queries: whatever is sent, the answer is never an internal error."""

from __future__ import annotations

import httpx
import pytest

from controlplane.api.numbers import MOST_REVISION, whole


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", 1),
        ("0007", 7),
        ("1000", 1000),
        ("1001", None),
        ("0", None),
        ("", None),
        ("-1", None),
        ("1.0", None),
        (" 1", None),
        ("1_0", None),
        ("\u00b2", None),
        ("\u0661", None),
        ("0000000001999", None),
        ("000000001" + "9" * 5000, None),
    ],
)
def test_whole(text: str, found: int | None) -> None:
    assert whole(text, 1000) == found


def test_revisions() -> None:
    assert whole(str(2**63 - 1), MOST_REVISION) == MOST_REVISION
    assert whole(str(2**63), MOST_REVISION) is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/routes?limit=", 400),
        ("/api/v1/rate-limits?most=", 400),
        ("/api/v1/history?limit=", 400),
        ("/api/v1/history?before=", 400),
        ("/api/v1/history/", 404),
        ("/api/v1/rollouts/", 404),
        ("/api/v1/diff?to=3&from=", 400),
    ],
)
async def test_thousands_of_digits(reader: httpx.AsyncClient, path: str, status: int) -> None:
    # Zeros first: looking at the first twenty digits would find a small number.
    assert (await reader.get(path + "0" * 19 + "1" + "9" * 5000)).status_code == status
