"""`python -m tests.support.stopped_clock`: a control plane whose fleet has a clock that a test stops.

SIGUSR1 stops it, SIGUSR2 lets it show the time again. So a data plane that moves is expected back for as long as a busy
machine takes for it.
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
        """Show the present time from now on."""
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
