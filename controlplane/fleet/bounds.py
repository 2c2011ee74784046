"""Bounds on data received from data planes and other control planes. Pure.

The bounded values can be shown to people, compared, and encoded for other control planes.
"""

from __future__ import annotations

import math
import re
from typing import Final

LONGEST_TEXT: Final = 500
LONGEST_NAME: Final = 128
"""Characters of the name of a service or an instance. The configuration has shorter ones only."""

MOST_SLOTS: Final = 1 << 16
"""Data planes that may vote on one instance."""

MOST_COUNT: Final = 2**63 - 1
"""Largest revision and counter: what etcd and the messages hold."""

_NODE: Final = re.compile(r"[!-~]{1,128}")


def is_node(name: str) -> bool:
    """Whether this may be the name of a data plane: 1 to 128 printable characters of ASCII without spaces."""
    return _NODE.fullmatch(name) is not None


def name(sent: str) -> str:
    """The name of a service or an instance."""
    return sent[:LONGEST_NAME]


def text(sent: str) -> str:
    """The part of a reason, a problem or a key that may be shown."""
    return sent[:LONGEST_TEXT]


def time(unix_seconds: float) -> float:
    """The time, or 0 (none) where it is not within the range of calendars."""
    return unix_seconds if 0 < unix_seconds < 2.0**36 else 0.0


def number(sent: float) -> float:
    """The number, or 0 where it is none."""
    return sent if math.isfinite(sent) else 0.0


def count(sent: int, most: int = MOST_COUNT) -> int:
    """A revision or a counter, from 0 to `most`."""
    return min(max(sent, 0), most)


def slot(sent: int) -> int:
    """A slot among the votes; -1 for none."""
    return sent if 0 <= sent < MOST_SLOTS else -1
