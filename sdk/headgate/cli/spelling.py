"""The closest known names for a mistyped name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def meant(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`: did you mean NAME?`, the end of a sentence; empty if no name is close. `cutoff`: 0 (any) to 1 (equal)."""
    close = difflib.get_close_matches(word, list(known), 1, cutoff)
    return f": did you mean {close[0]}?" if close else ""
