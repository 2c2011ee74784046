"""When to ask again. Pure: the random number comes in as an argument."""

from __future__ import annotations

FIRST, LONGEST = 0.5, 30.0
"""Seconds."""
LEAST_TTL, MOST_TTL = 2.0, 300.0
"""Bounds in seconds between two lookups of a name, whatever its TTL."""


def pause(failures: int, chance: float) -> float:
    """Seconds until the next try, after this many failures in a row; `chance` is from 0 to 1.

    Spread over half of the time, so that those that failed at once do not come back at once.
    """
    longest = min(LONGEST, FIRST * 2.0 ** min(max(failures - 1, 0), 10))
    return longest * (0.5 + chance / 2)


def until_expiry(ttl: float, chance: float) -> float:
    """Seconds until the records of this TTL are looked up again; a tenth of it at most after they end."""
    return min(max(ttl, LEAST_TTL), MOST_TTL) * (1 + chance / 10)
