"""Texts as messages of OTLP may hold them. Pure."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 8192
"""Characters of a value; longer ones are cut: collectors take messages of 4 MiB."""


def valid(text: str) -> str:
    """Valid Unicode, and not too long: one text that is not would make a whole batch of spans or records fail."""
    text = text[:LONGEST]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
