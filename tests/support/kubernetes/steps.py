"""The steps of a run, with the time that each one took."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


def say(line: str) -> None:
    """A line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class Steps:
    """Prints every step when it begins and when it has ended."""

    clock: Callable[[], float] = time.monotonic
    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: the block."""
        say(f"… {name}")
        began = self.clock()
        outcome = "failed after"
        try:
            yield
            outcome = "took"
        finally:
            seconds = self.clock() - began
            self.taken.append((name, seconds))
            say(f"  {name} {outcome} {seconds:.1f} s")

    def table(self) -> str:
        """All steps, one a line."""
        return "\n".join(f"{seconds:8.1f} s  {name}" for name, seconds in self.taken)
