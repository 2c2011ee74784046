"""Does nothing until SIGTERM: for a pod in which somebody runs commands."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # The first process of a container gets only the signals that it handles.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()
