"""The wait between attempts to open the config stream."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Seconds to wait before the next attempt: doubles from 0.1 up to 1, and is jittered.

    A control plane that returns is noticed within two seconds, and a fleet does not reconnect in step.
    """

    FIRST, MOST = 0.1, 1.0

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._step = self.FIRST

    def next(self) -> float:
        """From half of the current step to all of it, in seconds. Doubles the step."""
        step, self._step = self._step, min(self._step * 2, self.MOST)
        return step * (0.5 + 0.5 * self._random())

    def reset(self) -> None:
        """Return to the first step, after a success."""
        self._step = self.FIRST
