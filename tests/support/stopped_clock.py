"""`python -m tests.support.stopped_clock`: a control plane with a fleet clock that a test can stop.

SIGUSR1 stops it, SIGUSR2 sets it to the current time again. So a data plane that moves to another control plane may
take any time on a busy machine.
"""

from __future__ import annotations

import signal
import sys
import time
from functools import partial

from controlplane import app
from controlplane.__main__ import main
from controlplane.fleet.nodes import Fleet


class Clock:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self._stopped: float | None = None

    def __call__(self) -> float:
        return time.monotonic() if self._stopped is None else self._stopped

    def stop(self, *_: object) -> None:
        """Show the current time from now on."""
        self._stopped = self()

    def go_on(self, *_: object) -> None:
        """Show the time again."""
        self._stopped = None


if __name__ == "__main__":
    clock = Clock()
    signal.signal(signal.SIGUSR1, clock.stop)
    signal.signal(signal.SIGUSR2, clock.go_on)
    vars(app)["Fleet"] = partial(Fleet, clock)
    sys.exit(main())
