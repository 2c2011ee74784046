"""Commands while they still import: PID 1 of a container has no default for signals."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Importing the plane takes for ever here, and says that it has begun; if `swallowed`, in a callback like those of the
# locks of imports: Python ignores what these raise.
SCRIPT = """
import sys, time, weakref
def wait(*_):
    print("importing", flush=True)
    time.sleep(300)
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "{plane}.__main__":
            weakref.finalize(Slow(), wait) if {swallowed} else wait()
sys.meta_path.insert(0, Slow())
from {plane}.start import main
sys.exit(main())
"""


@pytest.mark.parametrize("plane", ["controlplane", "dataplane"])
@pytest.mark.parametrize(
    ("number", "swallowed"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)]
)
def test_a_signal_during_the_import_ends_the_process(
    plane: str, number: signal.Signals, swallowed: bool
) -> None:
    command = [sys.executable, "-c", SCRIPT.format(plane=plane, swallowed=swallowed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == 0


def test_a_signal_ends_the_command_line_as_pid_1() -> None:
    script = "import os\nos.getpid = lambda: 1\n" + SCRIPT.format(plane="headgate.cli", swallowed=False)
    script = script.replace("headgate.cli.__main__", "headgate.cli.app").replace(".start import", " import")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        # The default, which the kernel keeps from PID 1, would be -SIGTERM here.
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
