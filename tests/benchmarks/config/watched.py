"""A control plane that measures how long its event loop is blocked: `python -m tests.benchmarks.config.watched FILE`.

A task in the loop sleeps for a millisecond, again and again. What it oversleeps is a block: somebody's callback, or a
thread that does not let go of the interpreter. Of that counts what the process spent computing, so that a machine that
is busy with other work looks no worse. At SIGUSR1 the longest block since the last one is written to FILE, in
milliseconds.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

import uvicorn

from controlplane.__main__ import main
from demo.processes import ControlPlane, Process, start

TICK = 0.001


class Watch:
    """The longest block since it was asked for."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._longest = 0.0

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(TICK)
            late, busy = time.perf_counter() - began - TICK, time.process_time() - used
            self._longest = max(self._longest, min(late, busy))

    def tell(self) -> None:
        """Write it, and begin anew."""
        partial = self._file.with_suffix(".new")
        partial.write_text(f"{1000 * self._longest:.3f}")
        partial.replace(self._file)
        self._longest = 0.0


class Watched(ControlPlane):
    """As the benchmark starts it."""

    def start(self, folder: Path, *, wait: bool = False) -> Process:
        """Whoever starts it waits until it is ready."""
        assert not wait
        file = folder / "longest-block"
        argv = [sys.executable, "-m", "tests.benchmarks.config.watched", str(file)]
        return start(self.name, argv, self.environment(), folder)


def longest(folder: Path, process: Process) -> float:
    """The longest block since the last call, in milliseconds."""
    file = folder / "longest-block"
    file.unlink(missing_ok=True)
    process.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the control plane does not say how long it was blocked")
        time.sleep(0.01)
    return float(file.read_text())


def _watch(file: Path) -> None:
    """Have the server's loop watched from its start on."""
    started = uvicorn.Server.startup

    async def startup(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        watch, loop = Watch(file), asyncio.get_running_loop()
        tasks.append(asyncio.create_task(watch.run()))
        loop.add_signal_handler(signal.SIGUSR1, watch.tell)
        await started(self, sockets)

    tasks: list[asyncio.Task[None]] = []
    uvicorn.Server.startup = startup  # type: ignore[method-assign]


if __name__ == "__main__":
    _watch(Path(sys.argv.pop()))
    main()
