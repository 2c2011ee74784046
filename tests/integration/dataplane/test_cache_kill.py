"""kill -9 while the cache is written: what is found afterwards is whole, and not older than what was confirmed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

from dataplane.config.cache import Cache

WRITER = """
import sys
from pathlib import Path
from dataplane.config.cache import Cache
cache = Cache(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 1_000_000):
    cache.save(b"%d " % number * 20_000)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def confirmed_before_kill(folder: Path, first: int, seconds: float) -> int:
    """Let a process write payloads numbered from `first`, kill it, and return the last number it confirmed."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        rest = process.stdout.read().splitlines()
        timer.join()
    return int(rest[-1] if rest else line)


def test_kill_after_kill_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    luck = random.Random(1)
    number = 1
    for _ in range(100):
        number = confirmed_before_kill(tmp_path, number, luck.uniform(0.0, 0.02))
        cache = Cache(tmp_path)
        payload = cache.load()
        assert payload is not None
        assert cache.warnings == 0
        found = int(payload.split()[0])
        assert found >= number
        assert payload == b"%d " % found * 20_000
        number = found + 1
