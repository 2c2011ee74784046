"""kill -9 while the cache is written: what is found afterwards is whole, and not older than what was confirmed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.config.cache import Cache

WRITER = """
import os, sys
from pathlib import Path
from dataplane.config import cache
cache.LEAST_GROWTH = 100_000

def say(what):
    # In one piece, whenever the kill comes.
    os.write(1, b"%s\\n" % str(what).encode())

def write(first):
    file = cache.Cache(Path(sys.argv[1]))
    file.load()
    say(os.getpid())
    for number in range(first, 1_000_000):
        payload = b"%d " % number * 2_000
        assert (file.append if file.whole and not file.grown else file.replace)(payload)
        say(number)

# Every line asks for a writer that begins with this number; forked, as a start of Python takes much longer.
for line in sys.stdin:
    if not (writer := os.fork()):
        write(int(line))
    os.waitpid(writer, 0)
    say("killed")
"""


class Writers:
    """Processes that write numbered records to a cache, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._asks, self._said = process.stdin, process.stdout

    def confirmed_before_kill(self, first: int, seconds: float) -> int:
        """Let one write records numbered from `first`, kill it, and return the last number it confirmed."""
        self._asks.write(f"{first}\n")
        self._asks.flush()
        pid = int(self._said.readline())
        line = self._said.readline()
        timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
        timer.start()
        numbers = [line, *iter(self._said.readline, "killed\n")]
        timer.join()
        return int(numbers[-1])


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Writers(process)
        process.communicate()


def test_kill_after_kill_nothing_confirmed_is_lost(tmp_path: Path, writers: Writers) -> None:
    luck = random.Random(1)
    number = 1
    for _ in range(100):
        number = writers.confirmed_before_kill(number, luck.uniform(0.0, 0.02))
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
