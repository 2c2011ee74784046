"""Compression of responses as the configuration says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compression:
    """The responses that are compressed for clients that accept it."""

    encodings: tuple[str, ...]
    """Content codings, the preferred one first."""
    media_types: tuple[str, ...]
    """In lower case and without parameters; "text/*" is every text."""
    min_bytes: int
    """Smaller bodies of known length stay as they are."""
