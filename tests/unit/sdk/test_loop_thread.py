"""The loop in its thread, and the processes that fork from it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from headgate import HeadgateError
from headgate.loop_thread import LoopThread

FORK = """
import os, sys
from headgate.errors import HeadgateError
from headgate.loop_thread import loop_thread
import asyncio

loop_thread.__enter__()
loop_thread.run(asyncio.sleep(0))
loop_thread._lock.acquire()  # a thread of the parent holds it at the moment of the fork
if os.fork() == 0:
    for use in (lambda: loop_thread.run(asyncio.sleep(0)), loop_thread.__enter__):
        try:
            use()
        except HeadgateError as error:
            print(error)
    loop_thread.__exit__(None, None, None)
    sys.stdout.flush()
    os._exit(0)
os.wait()
loop_thread._lock.release()
loop_thread.__exit__(None, None, None)
"""


def test_it_runs_what_it_is_given() -> None:
    async def answer() -> int:
        return 42

    with LoopThread() as loop:
        assert loop.run(answer()) == 42
    with pytest.raises(HeadgateError, match="not connected"):
        loop.run(asyncio.sleep(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_and_does_not_hang() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30)
    assert done.stdout.count("this process was forked from one that uses headgate") == 2, done.stderr
    assert done.returncode == 0
