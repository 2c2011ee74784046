"""The loop in its thread, and the processes that fork from it."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from headgate import HeadgateError, loop_thread
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


class Stopped(BaseException):
    """What a signal handler raises."""


def interrupted(call: Callable[[], object], line: int) -> bool:
    """Raise Stopped before the line of this number of those that `call` runs in the module; False if it runs fewer."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != loop_thread.__file__:
            return None
        count += event == "line"
        if count == line and event == "line":
            raise Stopped
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Stopped:
        return True
    finally:
        sys.settrace(before)
    return False


async def others() -> int:
    return len(asyncio.all_tasks()) - 1


def test_wherever_a_signal_interrupts_it_nothing_goes_on_alone() -> None:
    """The handler of a signal may raise between any two lines."""
    with LoopThread() as loop:
        for line in itertools.count(1):
            work = asyncio.sleep(0.05)
            more = interrupted(lambda work=work: loop.run(work), line)  # type: ignore[misc]
            assert loop.run(others()) == 0, f"interrupted at line {line} of those that ran"
            work.close()
            if not more:
                break
    assert line > 5
