"""A real data plane process for tests: supervisor and workers on free ports, with its environment."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from demo.ports import free_port
from demo.processes import Process, start
from tests.support.fake_controlplane import TOKEN
from tests.support.waiting import PATIENCE, eventually


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a process that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class DataPlane:
    """`python -m dataplane`, started with `start`, and always ended after `async with`."""

    def __init__(self, folder: Path, controlplane: str = "127.0.0.1:1", **settings: str) -> None:
        self.folder = folder
        self.port, self.status_port = free_port(), free_port()
        self.settings = {
            "NODE": "node-1",
            "DATAPLANE_TOKEN": TOKEN,
            "LISTEN": f"127.0.0.1:{self.port}",
            "STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
            "CONTROLPLANE": controlplane,
            "CACHE_DIR": str(folder / "cache"),
            "RATE_LIMIT_PER_SECOND": "0",
            "DRAIN_TIMEOUT": "5",
            **settings,
        }
        self.process: Process | None = None
        self._client = httpx.AsyncClient(trust_env=False, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()
        if self.process is not None:
            if error is not None:
                sys.stderr.write(self.process.tail(60))
            await asyncio.to_thread(self.process.kill)

    @property
    def cache_file(self) -> Path:
        """The folder of its last good configuration."""
        return Path(self.settings["CACHE_DIR"]) / self.settings["NODE"] / "table"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        """Start the process, again after an end."""
        self.process = start("dataplane", [sys.executable, "-m", "dataplane"], self.settings, self.folder)
        return self

    async def started(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        await self.ready()
        return self

    async def ready(self, within: float = PATIENCE) -> None:
        """Wait until /ready answers 200."""
        await eventually(self._is_ready, within=within)

    async def serves(self, revision: int, within: float = PATIENCE) -> None:
        """Wait until every worker serves `revision`."""
        await eventually(lambda: self._serves(revision), within=within)

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        """A request to the traffic port."""
        return await self._client.get(f"http://127.0.0.1:{self.port}{path}", **arguments)

    async def status(self, path: str, **arguments: Any) -> httpx.Response:
        """A request to the status port."""
        return await self._client.get(f"http://127.0.0.1:{self.status_port}{path}", **arguments)

    async def metric(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 if it is absent."""
        wanted = name + (
            "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}" if labels else ""
        )
        for line in (await self.status("/metrics")).text.splitlines():
            if line.rpartition(" ")[0] == wanted:
                return float(line.rpartition(" ")[2])
        return 0.0

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, without those that have ended and wait for the supervisor to notice."""
        return [worker for worker in psutil.Process(self.pid).children() if is_alive(worker)]

    def send(self, number: signal.Signals) -> None:
        """Signal the supervisor alone."""
        assert self.process is not None
        self.process.signal(number)

    async def exit_code(self, within: float = PATIENCE) -> int:
        """Wait for its end."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.popen.wait, within)

    async def stop(self) -> int:
        """SIGTERM and wait; its exit code."""
        self.send(signal.SIGTERM)
        return await self.exit_code()

    async def kill(self) -> None:
        """End it and its workers at once."""
        assert self.process is not None
        await asyncio.to_thread(self.process.kill)

    def output(self) -> list[str]:
        """All of its output by lines, without an incomplete last line: its log, the workers' logs, the access log."""
        assert self.process is not None
        return self.process.lines()

    def log(self) -> list[Mapping[str, Any]]:
        """Its log records, including those of the access log."""
        return [json.loads(line) for line in self.output()]

    async def _is_ready(self) -> bool:
        return (await self.status("/ready")).status_code == 200

    async def _serves(self, revision: int) -> bool:
        return bool((await self.status("/debug/config")).json()["revision"] == revision)
