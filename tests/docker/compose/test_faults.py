"""Parts of a running docker-compose.yml are killed, stopped and started again, under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support import compose_stage as stage
from tests.support.compose import Project
from tests.support.load import Load
from tests.support.waiting import eventually

# The first test of a run builds the images and starts the project.
pytestmark = pytest.mark.timeout(1800)

CLIENTS = 4


@pytest.fixture
async def load(project: Project) -> AsyncIterator[Load]:
    """Clients that keep their connections; each asks fifty times a second at most."""
    async with Load({"gateway": project.ports["GATEWAY_PORT"]}, "/open/load", clients=CLIENTS) as load:
        await eventually(lambda: len(load.answers) > 20)
        yield load


async def healthy(project: Project) -> None:
    await eventually(lambda: asyncio.to_thread(lambda: not project.ailing()), within=90, every=0.2)


async def more(load: Load, count: int = 100) -> None:
    """Wait for this many further answers."""
    enough = len(load.answers) + count
    await eventually(lambda: len(load.answers) >= enough, within=60)


async def test_a_killed_gateway_costs_the_requests_that_it_had(project: Project, load: Load) -> None:
    victim, _ = project.containers("gateway")
    await asyncio.to_thread(project.docker, "kill", victim)
    moment = time.monotonic()
    await more(load)
    # A client notices at its next request that its connection has gone.
    assert len(load.failures) <= CLIENTS
    assert all(answer.began < moment + 1 for answer in load.failures), load.failures
    await asyncio.to_thread(project.docker, "start", victim)
    await healthy(project)


async def test_a_gateway_that_stops_loses_nothing(project: Project) -> None:
    """Requests under way end, and new connections go to the other. A client may find its idle connection closed."""
    victim, _ = project.containers("gateway")
    statuses: list[int | str] = []
    async with asyncio.TaskGroup() as clients:
        asking = [clients.create_task(each_on_a_new_connection(project, statuses)) for _ in range(CLIENTS)]
        await eventually(lambda: len(statuses) > 20)
        began = time.monotonic()
        await asyncio.to_thread(project.docker, "stop", "--time", "40", victim)
        assert time.monotonic() - began < stage.GRACE["gateway"]
        assert await asyncio.to_thread(project.inspect, victim, ".State.ExitCode") == "0"
        await asyncio.to_thread(project.docker, "start", victim)
        await healthy(project)
        for task in asking:
            task.cancel()
    assert set(statuses) == {200}, statuses


async def each_on_a_new_connection(project: Project, statuses: list[int | str]) -> None:
    """A client without keep-alive."""
    fresh = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=fresh, timeout=20, trust_env=False) as client:
        while True:
            try:
                statuses.append((await client.get(f"{project.gateway}/open/fresh")).status_code)
            except httpx.HTTPError as error:
                statuses.append(repr(error))
            await asyncio.sleep(0.02)


async def test_a_gateway_that_ends_by_itself_is_started_again(project: Project) -> None:
    victim, _ = project.containers("gateway")
    before = int(project.inspect(victim, ".RestartCount"))
    # Its own user may signal it; nobody has stopped the container.
    project.docker.run("exec", victim, "python3", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
    await eventually(
        lambda: asyncio.to_thread(lambda: int(project.inspect(victim, ".RestartCount")) > before),
        within=60,
        every=0.2,
    )
    await healthy(project)


async def test_etcd_stops_and_starts_again(project: Project, load: Load) -> None:
    change = {"scopes": [{"name": "after:etcd"}]}
    with stage.administrator(project) as admin:
        await asyncio.to_thread(project, "stop", "etcd")
        await more(load)
        assert (await asyncio.to_thread(admin.post, "/api/v1/apply", json=change)).status_code == 503
        await asyncio.to_thread(project, "start", "etcd")
        await eventually(
            lambda: asyncio.to_thread(
                lambda: admin.post("/api/v1/apply?wait=30", json=change).status_code == 200
            ),
            within=90,
            every=0.2,
        )
    await healthy(project)
    assert not load.failures


async def test_a_killed_control_plane_is_replaced_by_the_other(project: Project, load: Load) -> None:
    victim, _ = project.containers("controlplane")
    await asyncio.to_thread(project.docker, "kill", victim)
    change = {"scopes": [{"name": "after:control-plane"}]}

    def changed() -> bool:
        with stage.administrator(project) as admin:
            return admin.post("/api/v1/apply?wait=30", json=change).status_code == 200

    await eventually(lambda: asyncio.to_thread(changed), within=90, every=0.2)
    await asyncio.to_thread(project.docker, "start", victim)
    await healthy(project)
    assert not load.failures
