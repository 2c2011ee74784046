"""The command `headgate-dataplane`: listens to signals before it imports the rest.

PID 1 of a container gets no signal that it has no handler for. Imports take a second, much longer on a busy machine: a
SIGTERM that arrives meanwhile would be lost, and the container killed at the end of its grace period.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def main() -> int:
    """Run a data plane; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    from dataplane.__main__ import main as run

    return run()


def _end(*_: object) -> NoReturn:
    """There is nothing to drain yet. An exception could be lost: imports run callbacks that swallow it."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
