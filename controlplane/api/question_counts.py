"""Counts explanations and taps, for metrics: how many, how they ended, how long they took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from controlplane.api.explain import explain

KINDS: Final = ("explain", "tap")
OUTCOMES: Final = ("answered", "invalid", "limited", "failed")


class QuestionCounts:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.ended = Counter[tuple[str, str]]()
        """By kind and outcome."""
        self.seconds: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        """Spent on those that were answered, by kind."""
        self._clock = clock

    @contextmanager
    def asked(self, kind: str, *, goes_on: bool = False) -> Iterator[None]:
        """One question within the block. `goes_on`: what is answered is counted at its end, by `answered`."""
        began = self._clock()
        try:
            yield
        except Exception as error:
            refused = explain(error, writing=False)
            self.ended[kind, _outcome(refused.status if refused else 500)] += 1
            raise
        if not goes_on:
            self.answered(kind, self._clock() - began)

    def answered(self, kind: str, seconds: float) -> None:
        """One was answered, and took so long."""
        self.ended[kind, "answered"] += 1
        self.seconds[kind] += seconds


def _outcome(status: int) -> str:
    if status == 429:
        return "limited"
    return "invalid" if status < 500 else "failed"
