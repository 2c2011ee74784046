"""A command that is registered while it runs: what `headgate register -- COMMAND` does.

The command runs in a process group of its own, so that a Ctrl-C at the terminal reaches it only after the drain. When
it ends, or is ended, every process of that group is: nothing of it stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from headgate.registration import Registration

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command:
    """One command, from its start to its end."""

    def __init__(self, argv: Sequence[str], port: int, stop_timeout: float) -> None:
        """`stop_timeout`: seconds between SIGTERM and SIGKILL. The command finds the port in PORT."""
        self._argv = argv
        self._port = port
        self._stop_timeout = stop_timeout
        self._asked = asyncio.Event()
        self._registration: Registration | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, registration: Registration) -> int:
        """Run it, registered in the background; returns its exit code, as a shell counts it.

        The first SIGTERM, SIGINT or SIGHUP drains the instance and ends the command after that; a second one ends it
        at once. Raises OSError when it cannot be started.
        """
        self._registration = registration
        loop = asyncio.get_running_loop()
        # Before the command is there: a signal that comes meanwhile ends it like any other.
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            environment = os.environ | {"PORT": str(self._port)}
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, env=environment, process_group=0
            )
            try:
                async with registration:
                    await self._ended_or_asked(self._process)
                    if self._process.returncode is not None:
                        registration.hurry()  # there is nobody left to wait for
                return await self._end(self._process)
            finally:
                self._kill_group()
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._asked.is_set():
            self._kill_group()
            if self._registration is not None:
                self._registration.hurry()
        self._asked.set()

    async def _ended_or_asked(self, process: asyncio.subprocess.Process) -> None:
        tasks = [asyncio.create_task(process.wait()), asyncio.create_task(self._asked.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_timeout):
                code = await process.wait()
        except TimeoutError:
            self._kill_group()
            code = await process.wait()
        return code if code >= 0 else 128 - code

    def _kill_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
