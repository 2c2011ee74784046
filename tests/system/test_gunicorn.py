"""gunicorn configured as docs/explanation/distribution.md shows: its workers hold one instance together."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import psutil
import pytest

from controlplane.commands.plans.holders import Holders, holders_of
from controlplane.store import EtcdSettings, EtcdStore
from demo.ports import free_port
from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, start
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/distribution.md"
APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here"]
"""
INSTANCES = "/headgate/v1/instance/orders/"
PATIENCE = 90.0
"""Seconds. A worker that was killed is counted until its lease ends: 15 seconds."""


class Stage:
    """etcd, a control plane, and servers of one service that share an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etcd = Etcd()
        self.controlplane = ControlPlane(self.etcd.url, Secrets())
        self.store = EtcdStore(EtcdSettings((self.etcd.url,)))
        self.port = free_port()
        self.removals: list[str] = []
        """Instances that were removed, as the store's watch tells."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Stage:
        self._stack.callback((await asyncio.to_thread(self.etcd.start, self.folder)).stop)
        self._stack.push_async_callback(self.store.close)
        self._stack.callback((await asyncio.to_thread(self.controlplane.start, self.folder)).stop)
        (found,) = re.findall(r"```python\n(# gunicorn\.conf\.py.*?)```", PAGE.read_text(), re.DOTALL)
        (self.folder / "gunicorn.conf.py").write_text(found.replace("9000", str(self.port)))
        (self.folder / "shop.py").write_text(APPLICATION)
        watching = asyncio.create_task(self._watch((await self.store.list(INSTANCES)).revision))
        self._stack.push_async_callback(_cancel, watching)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def serve(self, name: str, *options: str) -> Process:
        """gunicorn with two workers; with `--reuse-port` several of them may listen at the same address."""
        command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--no-control-socket"]
        command += ["--timeout", "120", "--graceful-timeout", "120"]
        command += [
            "--bind",
            f"127.0.0.1:{self.port}",
            "--config",
            "gunicorn.conf.py",
            *options,
            "shop:application",
        ]
        environment = {
            "HEADGATE_CONTROLPLANE": self.controlplane.grpc,
            "HEADGATE_TOKEN": self.controlplane.secrets.service_token,
        }
        process = start(name, command, environment, self.folder)
        self._stack.callback(process.stop)
        return process

    def route(self) -> DataPlane:
        """A data plane that routes every request to the service."""
        with self.controlplane.admin() as admin:
            route = {"prefix": "/", "service_name": "orders", "public": True}
            admin.put("/api/v1/config/routes/shop", json=route).raise_for_status()
        dataplane = DataPlane(self.controlplane.grpc, self.controlplane.secrets)
        self._stack.callback(dataplane.start(self.folder).stop)
        return dataplane

    async def instance(self) -> str | None:
        """The one instance that is registered ("service/id"), or none."""
        entries = (await self.store.list(INSTANCES)).entries
        assert len(entries) <= 1, "all workers are one instance"
        return f"orders/{entries[0].key.removeprefix(INSTANCES)}" if entries else None

    async def holders(self) -> frozenset[int]:
        """The leases of the processes that hold it."""
        if (name := await self.instance()) is None:
            return frozenset()
        entries = (await self.store.list(holders_of(name))).entries
        return frozenset(entry.lease for entry in Holders.read(entries).held)

    async def held_by(self, count: int, *, without: frozenset[int] = frozenset()) -> frozenset[int]:
        """Wait until so many processes hold it; not all of `without` are among them."""

        async def there() -> frozenset[int]:
            found = await self.holders()
            return found if len(found) == count and not (without and without <= found) else frozenset()

        return await eventually(there, within=PATIENCE)

    def workers(self) -> int:
        """How many processes hold it, as the admin API shows it."""
        with self.controlplane.admin() as admin:
            (orders,) = (
                one for one in admin.get("/api/v1/services").json() if one["service_name"] == "orders"
            )
        (instance,) = orders["instances"].values()
        return int(instance["workers"])

    async def _watch(self, after: int) -> None:
        async for batch in self.store.watch(INSTANCES, after):
            self.removals += batch.deletes


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as stage:
        yield stage


async def ended(process: Process) -> None:
    """Ask the server to stop, and wait until it and its workers have."""
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.popen.wait, PATIENCE) == 0, process.tail()


async def test_workers_hold_one_instance_together(stage: Stage) -> None:
    old = stage.serve("old", "--reuse-port")
    both = await stage.held_by(2)
    assert await eventually(lambda: asyncio.to_thread(stage.workers)) == 2

    # One is killed: gunicorn starts another one, and the lease of the dead one ends.
    psutil.Process(old.pid).children()[0].kill()
    replaced = await stage.held_by(2, without=both)
    assert len(replaced & both) == 1, "the other one has held it all the time"

    # A new server takes over; the goodbyes of the old one come when it is there already.
    new = stage.serve("new", "--reuse-port")
    everybody = await stage.held_by(4)
    await ended(old)
    assert await stage.holders() == everybody - replaced
    assert not stage.removals, "it was never gone"

    # The last one takes it out.
    await ended(new)
    assert await stage.instance() is None
    await eventually(lambda: len(stage.removals) == 1)


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_request_fails_while_workers_are_recycled(stage: Stage, workers: int) -> None:
    # A busy machine may start a worker slowly: the lease of its predecessor must last.
    settings = stage.folder / "gunicorn.conf.py"
    settings.write_text(settings.read_text().replace('"orders",', '"orders", ttl=120,'))
    server = stage.serve(
        "shop", "--workers", str(workers), "--max-requests", "20", "--graceful-timeout", "30"
    )
    await eventually(stage.instance, within=PATIENCE)
    dataplane = await asyncio.to_thread(stage.route)
    pids = {child.pid for child in psutil.Process(server.pid).children()}
    async with httpx.AsyncClient(base_url=dataplane.url, trust_env=False, timeout=PATIENCE) as client:
        await eventually(lambda: _served(client), within=PATIENCE)
        answers = [await client.get("/") for _ in range(200)]
    assert not [answer.text for answer in answers if answer.status_code != HTTPStatus.OK]
    assert not pids & {child.pid for child in psutil.Process(server.pid).children()}
    assert not stage.removals, "it was never gone"

    # The leases of recycled workers do not outlive the stop. gunicorn kills a worker that it forked just before: such a
    # worker may miss the signal.
    await ended(server)
    assert await stage.instance() is None


async def _served(client: httpx.AsyncClient) -> bool:
    return (await client.get("/")).status_code == HTTPStatus.OK
