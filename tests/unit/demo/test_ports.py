"""Ports for processes that are started: no two processes of a machine get the same one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from demo.ports import free_port

ROOT = Path(__file__).parents[3]
MANY = 250  # more than a block holds

CHOOSE = f"""
from demo.ports import free_port
print(*(free_port() for _ in range({MANY})), flush=True)
input()
"""


def test_processes_that_run_side_by_side_share_no_port() -> None:
    """The ports are chosen, not bound: a probe alone would find each of them free for everybody."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHOOSE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    chosen = [free_port() for _ in range(MANY)]
    for process in processes:
        assert process.stdout
        chosen += map(int, process.stdout.readline().split())
    for process in processes:
        process.communicate("\n", timeout=30)
    assert len(set(chosen)) == 9 * MANY


def test_a_port_in_use_is_left_out() -> None:
    first = next(
        port for port in iter(free_port, None) if port % 100 < 98
    )  # its neighbour is of the same block
    with socket.create_server(("127.0.0.1", first + 1)):
        assert free_port() == first + 2
