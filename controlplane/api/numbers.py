"""Numbers in paths and queries."""

from __future__ import annotations

MOST_REVISION = 2**63 - 1


def whole(text: str, most: int) -> int | None:
    """The number from 1 to `most` that a text is; None for anything else.

    The length is looked at first: Python refuses to read thousands of digits, and takes long for many.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    return number if 1 <= (number := int(text)) <= most else None
