"""Two control planes on one etcd, and data planes that are connected to one of them or to either."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dataplane.config.stream.order import preferred
from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, answers, kill_all, wait_or_kill
from tests.support.waiting import eventually

QUIET = {"RATE_LIMIT_PER_SECOND": "0", "ACCESS_LOG": "false"}


@dataclass
class Pair:
    """Control planes `a` and `b`, and data planes by name, each as a separate process."""

    folder: Path
    a: ControlPlane
    b: ControlPlane
    dataplanes: dict[str, DataPlane] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def addresses(self) -> tuple[str, str]:
        """Of both, for gRPC."""
        return self.a.grpc, self.b.grpc

    @property
    def ports(self) -> dict[str, int]:
        """Traffic ports by data plane."""
        return {plane.name: plane.port for plane in self.dataplanes.values()}

    def urls(self, path: str) -> list[str]:
        """A GET of a path at every data plane."""
        return [plane.url + path for plane in self.dataplanes.values()]

    async def add(self, name: str, *addresses: str, **settings: str) -> DataPlane:
        """Start a data plane that knows these addresses of control planes."""
        plane = DataPlane(",".join(addresses), self.a.secrets, name, settings=QUIET | settings)
        await self.start(plane)
        self.dataplanes[name] = plane
        return plane

    def prefers(self, controlplane: ControlPlane, stem: str) -> str:
        """A name with which a data plane that knows both prefers this one."""
        names = (f"{stem}-{number}" for number in itertools.count(1))
        return next(name for name in names if preferred(self.addresses, name)[0] == controlplane.grpc)

    async def start(self, plane: ControlPlane | DataPlane) -> None:
        """Start or restart it, and wait until it is ready."""
        process = self.processes[plane.name] = plane.start(self.folder / "run", wait=False)
        # It is registered before it is ready, so that it is also ended if the start of another one fails.
        await asyncio.to_thread(wait_or_kill, answers(plane.ready_url), process)

    async def stop(self, plane: ControlPlane | DataPlane) -> None:
        """SIGTERM, and wait for its end."""
        await asyncio.to_thread(self.processes[plane.name].stop)

    async def kill(self, plane: ControlPlane | DataPlane) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.processes[plane.name].kill)

    async def remove(self, plane: DataPlane) -> None:
        """End a data plane permanently, and wait until both control planes know."""
        await self.stop(plane)
        del self.dataplanes[plane.name]
        await eventually(self._seen, within=30)

    @asynccontextmanager
    async def guest(self, name: str, *addresses: str, **settings: str) -> AsyncIterator[DataPlane]:
        """One more data plane within the block, which is always removed: the next test gets the original fleet."""
        plane = await self.add(name, *addresses, **settings)
        try:
            yield plane
        finally:
            await self.remove(plane)

    @asynccontextmanager
    async def lost(self, plane: ControlPlane, how: str) -> AsyncIterator[None]:
        """It is ended by `stop` or `kill` within the block, and restarted after it. The block may begin before the end,
        which may take longer on a busy machine than data planes have to reconnect.
        """
        ending = asyncio.create_task(getattr(self, how)(plane))
        try:
            yield
        finally:
            await ending
            await self.start(plane)

    @asynccontextmanager
    async def frozen(self, plane: ControlPlane | DataPlane) -> AsyncIterator[None]:
        """It gets SIGSTOP within the block, and SIGCONT after it; a data plane's workers keep running."""
        self.processes[plane.name].signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes[plane.name].signal(signal.SIGCONT)

    @asynccontextmanager
    async def stopped_clock(self, plane: ControlPlane) -> AsyncIterator[None]:
        """Lost data planes may take any time to reconnect within the block."""
        self.processes[plane.name].signal(signal.SIGUSR1)
        try:
            yield
        finally:
            self.processes[plane.name].signal(signal.SIGUSR2)

    async def view(self, controlplane: ControlPlane, path: str) -> Any:
        """A GET on the admin API."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return (await client.get(f"{controlplane.url}/api/v1{path}")).raise_for_status().json()

    async def metrics(self, controlplane: ControlPlane) -> Mapping[str, float]:
        """Every sample by its name and labels, as in the text format."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            text = (await client.get(f"{controlplane.url}/metrics")).raise_for_status().text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def serving(self, controlplane: ControlPlane) -> set[str]:
        """Names of the data planes that are connected to this control plane."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            shown = [
                (name, (await client.get(f"{plane.status_url}/debug/config")).json())
                for name, plane in self.dataplanes.items()
            ]
        return {name for name, config in shown if config["controlplane"] == controlplane.grpc}

    async def apply(self, controlplane: ControlPlane, document: object, **query: str) -> httpx.Response:
        """POST /apply as the administrator."""

        def send() -> httpx.Response:
            with controlplane.admin() as admin:
                return admin.post("/api/v1/apply", json=document, params=query)

        return await asyncio.to_thread(send)

    async def settled(self) -> None:
        """Wait until both control planes see every data plane connected, with the same table."""

        async def same() -> bool:
            digests = [
                {node["digest"] for node in await self.view(one, "/dataplanes") if node["connected"]}
                for one in (self.a, self.b)
            ]
            return await self._seen() and all(len(found) == 1 for found in digests)

        await eventually(same, within=30)

    async def _seen(self) -> bool:
        """Whether both control planes see these data planes connected, and no others."""
        for one in (self.a, self.b):
            fleet = await self.view(one, "/dataplanes")
            if {node["node"] for node in fleet if node["connected"]} != set(self.dataplanes):
                return False
        return True

    async def headgate(
        self, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with a separate home folder that is kept between calls."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        inherited = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "headgate.cli", *arguments],
            env=inherited | environment,
            cwd=home,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=60,
        )


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Pair]:
    """Two control planes without data planes; the command is logged in at `a`."""
    async with AsyncExitStack() as stack:
        etcd, secrets = Etcd(), Secrets()
        store = await asyncio.to_thread(etcd.start, folder / "run")
        stack.push_async_callback(asyncio.to_thread, store.kill)
        a, b = (
            ControlPlane(
                etcd.url,
                secrets,
                name,
                settings={"ANONYMOUS_READ": "true"},
                module="tests.support.stopped_clock",
            )
            for name in ("controlplane-a", "controlplane-b")
        )
        pair = Pair(folder, a, b)
        stack.push_async_callback(_end, pair)
        await pair.start(a)
        await pair.start(b)
        login = ("login", a.url, "-u", secrets.admin_username, "--password-stdin")
        done = await pair.headgate(*login, stdin=secrets.admin_password)
        assert done.returncode == 0, done.stderr
        yield pair


async def _end(pair: Pair) -> None:
    await asyncio.to_thread(kill_all, list(pair.processes.values()))
