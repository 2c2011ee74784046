"""The demo is interrupted, and interrupted again during its stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import eventually_now

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = """
import sys
from pathlib import Path
from demo.__main__ import run
from demo.interrupts import Interrupts
from demo.ports import free_port
from demo.processes import kill_everything
from demo.world import make_world

Interrupts(kill_everything).install()
try:
    run(make_world(Path(sys.argv[1]), [free_port() for _ in range(8)]), check=False)
except KeyboardInterrupt:
    print("Stopped.", flush=True)
"""


@pytest.mark.parametrize("sign", ["Starting", "Ready"])
def test_interrupted_twice_it_leaves_nothing(tmp_path: Path, sign: str) -> None:
    """During the start, and during the run; the second signal comes during the stop."""
    command = [sys.executable, "-u", "-c", INTERRUPTED, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith(sign):
            assert demo.poll() is None
        started = eventually_now(lambda: psutil.Process(demo.pid).children(recursive=True))
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGTERM)
        assert demo.stdout.read().endswith("Stopped.\n")
        assert demo.wait(60) == 0
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
