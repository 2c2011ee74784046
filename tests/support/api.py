"""The admin API over a store in memory: no sockets, but everything below is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import httpx
from starlette.types import ASGIApp

from controlplane.api.application import make_api
from controlplane.api.parts import Parts
from controlplane.commands.adapters import StoredFamilies, StoredRevocations
from controlplane.commands.commands import Commands
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.identity import Grants, Hasher, KeyRing, Revocations, TokenIssuer, Users
from controlplane.store import Entry, MemoryStore, Put
from controlplane.telemetry.spans import Spans
from tests.support.keys import open_keys
from tests.support.waiting import within

SECRET_KEY = "0123456789abcdef0123456789abcdef"
ADMIN, READER, NOBODY, TAPPER = "admin", "reader", "nobody", "tapper"
PASSWORD = "password"


@dataclass
class Wall:
    """Unix seconds that a test moves."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class Api:
    """A running admin API and the parts below it."""

    client: httpx.AsyncClient
    store: MemoryStore
    parts: Parts
    wall: Wall
    app: ASGIApp
    """What `client` calls."""

    async def token(self, username: str = ADMIN) -> dict[str, str]:
        """The header of a user's fresh token."""
        assert self.parts.grants is not None
        tokens = await self.parts.grants.password(username, PASSWORD)
        return {"Authorization": f"Bearer {tokens.access_token}"}

    async def seen(self) -> None:
        """Wait until the watcher has published the current content of the store."""
        wanted = self.store.revision
        wake = asyncio.Event()
        with self.parts.watcher.changed.wakes(wake):
            while self.parts.watcher.current is None or self.parts.watcher.current.revision < wanted:
                await within(wake.wait(), 30)
                wake.clear()


def users() -> dict[str, object]:
    """An administrator, a user with the right to read, one without rights, and one who may tap."""
    scopes = {
        ADMIN: ["gateway:admin"],
        READER: ["gateway:read"],
        NOBODY: ["orders:read"],
        TAPPER: ["gateway:tap"],
    }
    return {
        "scopes": [
            {"name": "gateway:admin"},
            {"name": "gateway:read"},
            {"name": "gateway:tap"},
            {"name": "orders:read"},
        ],
        "users": [{"username": name, "password": PASSWORD, "scopes": held} for name, held in scopes.items()],
    }


_made: list[tuple[KeyRing, tuple[Entry, ...]]] = []


async def _keys(store: MemoryStore, now: float) -> KeyRing:
    """The signing keys, made once for all tests in a separate store: making one takes a tenth of a second of computing,
    and reading it a third of that."""
    if not _made:
        elsewhere = MemoryStore()
        ring = await open_keys(elsewhere, SECRET_KEY, issuer="headgate", audience="headgate", now=now)
        _made.append((ring, (await elsewhere.list("/headgate/v1/signing_key/")).entries))
        await elsewhere.close()
    ring, entries = _made[0]
    await store.commit({}, [Put(entry.key, entry.value) for entry in entries])
    return ring


@asynccontextmanager
async def running_api(
    *,
    anonymous_read: bool = False,
    started: bool = True,
    peer: str = "127.0.0.1",
    observing: bool = True,
    spans: Spans | None = None,
) -> AsyncIterator[Api]:
    """The API with `users`; without `started`, one whose store has not answered yet. Without `observing` no events are
    noted."""
    store, wall, hasher = MemoryStore(), Wall(), Hasher(time_cost=1, memory_cost=64, parallelism=1)
    watcher, fleet = Watcher(store), Fleet(wall=wall)
    commands = Commands(store, hasher, wall, watcher, spans=spans)
    parts = Parts(commands, watcher, fleet, "1.2.3", anonymous_read, trusted_proxies=(ip_network(peer),))
    store.available = started
    if started:
        await commands.apply(users(), author="test")
        keys = await _keys(store, wall())
        parts.revocations = Revocations(store, wall)
        parts.tokens = TokenIssuer(keys, wall, ended=parts.revocations.ended)
        users_of = Users(parts.find_user, hasher, time.monotonic)
        rotation = StoredFamilies(commands.executor, 2_592_000)
        revoking = StoredRevocations(commands.executor, parts.revocations)
        parts.grants = Grants(users_of, parts.tokens, rotation, revoking, wall)
        parts.starting = None
    following = [asyncio.create_task(watcher.run())]
    if observing:
        following.append(asyncio.create_task(parts.observer.run()))
    app = make_api(parts)
    transport = httpx.ASGITransport(app, client=(peer, 50000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        api = Api(client, store, parts, wall, app)
        if started:
            await api.seen()
        yield api
    for task in following:
        task.cancel()
    await asyncio.wait(following)
    await store.close()
