"""The first process of the namespaces: its exit code is that of the command."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

INIT = [sys.executable, "-m", "tests.support.kubernetes.init", sys.executable, "-c"]


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_ends_with_the_command(code: str, expected: int) -> None:
    assert subprocess.run([*INIT, code], check=False).returncode == expected


def test_passes_sigterm_on() -> None:
    code = "import signal; print('ready', flush=True); signal.sigwait({signal.SIGTERM}); print('told')"
    blocked = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}}); {code}"
    with subprocess.Popen([*INIT, blocked], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "told\n"
    assert process.returncode == 0
