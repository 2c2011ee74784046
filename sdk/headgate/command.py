"""Runs a command, and registers an instance while it runs: the implementation of `headgate register -- COMMAND`.

The command runs in a process group of its own, so that a Ctrl-C at the terminal reaches it only after the drain. When
the command ends, every process of that group is ended. A terminal stops groups in the background
that read from it or set it up: the command does not get it as its standard input, and may set it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence

from headgate.registration import Registration

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

log = logging.getLogger("headgate")


class Command:
    """One command, from its start to its end."""

    def __init__(self, argv: Sequence[str], port: int | None, stop_timeout: float) -> None:
        """`stop_timeout`: seconds between SIGTERM and SIGKILL. The command finds the port in PORT, if there is one."""
        self._argv = argv
        self._port = port
        self._stop_timeout = stop_timeout
        self._asked = asyncio.Event()
        self._registration: Registration | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, registration: Registration) -> int:
        """Run it, registered in the background; returns its exit code, as a shell counts it.

        The first of SIGNALS drains the instance and ends the command after that; a second one ends it at once. Raises
        OSError if it cannot be started.
        """
        self._registration = registration
        loop = asyncio.get_running_loop()
        # Before the start of the command, so that a signal in between ends it, too.
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            self._process = await self._start()
            try:
                async with registration:
                    await self._ended_or_asked(self._process)
                    if self._process.returncode is not None:
                        self._tell_unregistered(registration)
                        registration.hurry()  # the process has already ended
                return await self._end(self._process)
            finally:
                self._kill_group()
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _start(self) -> asyncio.subprocess.Process:
        environment = os.environ | ({"PORT": str(self._port)} if self._port else {})
        stdin = subprocess.DEVNULL if os.isatty(0) else None
        with _inherited_by_children(signal.SIGTTOU):
            return await asyncio.create_subprocess_exec(
                *self._argv, env=environment, process_group=0, stdin=stdin
            )

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

    def _tell_unregistered(self, registration: Registration) -> None:
        # Errors of the registration are in the log already.
        if not (self._asked.is_set() or registration.registered or registration.last_error):
            text = "the command ended before it was registered: did it listen on port %d?"
            log.warning(text, self._port)

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        self._signal_group(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_timeout):
                code = await process.wait()
        except TimeoutError:
            self._kill_group()
            code = await process.wait()
        return code if code >= 0 else 128 - code

    def _kill_group(self) -> None:
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # all of it has ended
        except PermissionError:
            log.warning("the command runs as another user: end process %d yourself", self._process.pid)


@contextlib.contextmanager
def _inherited_by_children(ignored: signal.Signals) -> Iterator[None]:
    """Ignore a signal while a child is started, which goes on ignoring it."""
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(ignored, before)
