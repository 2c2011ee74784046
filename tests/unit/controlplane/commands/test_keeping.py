"""What keep-alives read from the store: nothing, as long as the watcher knows what they are about."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import Registration
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.model.resources import Instance, Service
from controlplane.model.stored import key_of
from controlplane.store import Entry, LeaseGone, MemoryStore
from tests.support.waiting import eventually
from tests.unit.controlplane.distribute.test_watcher import running

NAME, TTL = "orders/a", 15.0
INSTANCE = Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=9000)


class Scene(MemoryStore):
    """A store that counts what is read of instances and holders, and commands that follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.renewals: list[int] = []
        self.watcher = Watcher(self, probe=0.02)
        hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
        self.commands = Commands(self, hasher, lambda: 0.0, self.watcher)

    async def get(self, key: str) -> Entry | None:
        self.reads += "/instance/" in key or "/holders/" in key
        return await super().get(key)

    async def keep_alive(self, lease: int) -> float:
        self.renewals.append(lease)
        return await super().keep_alive(lease)

    @property
    def known(self) -> int:
        """The revision of the instance as the watcher has it; 0 for none."""
        found = self.watcher.registration(NAME)
        return found.revision if found else 0

    async def register(self) -> Registration:
        made = await self.commands.register(INSTANCE, Service(service_name="orders"), TTL)
        await self.seen()
        return made

    async def seen(self) -> None:
        """Return once the watcher knows what the store holds of the instance."""
        stored = await super().get(key_of("instance", NAME))
        await eventually(lambda: self.watcher.connected and self.known == (stored.revision if stored else 0))
        self.reads, self.renewals = 0, []


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with running(scene.watcher):
        yield scene


async def test_the_lease_of_a_process_is_renewed_and_nothing_read(scene: Scene) -> None:
    made = await scene.register()
    assert await scene.commands.keep(NAME, made.lease) == await scene.commands.keep(NAME, made.lease)
    assert (scene.reads, set(scene.renewals)) == (0, {made.lease})


async def test_holders_are_read_once_and_renew_the_shared_lease_too(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(3)]
    for worker in workers:
        await scene.commands.keep(NAME, worker.lease)
    assert scene.reads
    await scene.seen()
    for worker in workers:
        assert (await scene.commands.keep(NAME, worker.lease)).ttl > 0
    assert scene.reads == 0
    assert len(set(scene.renewals)) == 4


async def test_what_is_taken_out_is_told_as_soon_as_the_watcher_knows(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(2)]
    for worker in workers:
        await scene.commands.keep(NAME, worker.lease)
    await scene.commands.drain("orders", "a")
    await scene.seen()
    assert [(await scene.commands.keep(NAME, worker.lease)).draining for worker in workers] == [True, True]
    await scene.commands.deregister("orders", "a")
    await scene.seen()
    assert [(await scene.commands.keep(NAME, worker.lease)).removed for worker in workers] == [True, True]


async def test_a_holder_whose_lease_has_ended_has_to_register_anew(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(2)]
    for worker in workers:
        await scene.commands.keep(NAME, worker.lease)
    await scene.revoke(workers[0].lease)
    with pytest.raises(LeaseGone):
        await scene.commands.keep(NAME, workers[0].lease)
    assert (await scene.commands.keep(NAME, workers[1].lease)).ttl > 0


async def test_while_the_store_is_in_doubt_it_is_asked(scene: Scene) -> None:
    made = await scene.register()
    scene.watcher.connected = False
    await scene.commands.keep(NAME, made.lease)
    assert scene.reads
    with pytest.raises(LeaseGone):
        await scene.commands.keep(NAME, made.lease + 100)
