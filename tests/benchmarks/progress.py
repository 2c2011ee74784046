"""What a run tells while it is under way."""

from __future__ import annotations

import sys


def tell(number: int, name: str, words: str) -> None:
    """One sample; round 0 is the warm-up."""
    say(f"{f'round {number}' if number else 'warm-up':10}{name:22}{words}")


def say(line: str) -> None:
    """A line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
