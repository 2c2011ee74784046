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
from dataplane.config import cache
cache.LEAST_GROWTH = 100_000
file = cache.Cache(Path(sys.argv[1]))
file.load()
for number in range(int(sys.argv[2]), 1_000_000):
    payload = b"%d " % number * 2_000
    assert (file.append if file.whole and not file.grown else file.replace)(payload)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def confirmed_before_kill(folder: Path, first: int, seconds: float) -> int:
    """Let a process write records numbered from `first`, kill it, and return the last number it confirmed."""
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
        records = cache.load()
        found = [int(record.split()[0]) for record in records]
        assert found[-1] >= number
        # Nothing is missing in between, and each is as it was written.
        assert found == list(range(found[0], found[-1] + 1))
        assert records == [b"%d " % one * 2_000 for one in found]
        # A record that was being written is the only one that may be cut short.
        assert cache.warnings == (not cache.whole)
        number = found[-1] + 1
