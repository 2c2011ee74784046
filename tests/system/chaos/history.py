"""What was written, what every data plane showed and when, and whether that is what must hold.

A writer adds routes, one after the other, over any control plane; an observer looks at every data plane all the time.
Routes are only added, so that one that was seen and is missing later was undone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.waiting import eventually
from tests.system.chaos.world import SERVICE, ChaosWorld

PREFIX = "chaos-"
PATIENCE = 30.0
"""Seconds for what a test itself has to write: whether that takes long is not what is judged."""


@dataclass
class Seen:
    """What one data plane showed."""

    stamp: tuple[int, int] = (0, 0)
    """Epoch and revision."""
    routes: frozenset[str] = frozenset()
    first: dict[str, float] = field(default_factory=dict)
    """When each route was seen first."""
    looks: int = 0


class History:
    """Writes and looks within the block. `violations` says what must not have happened."""

    def __init__(self, world: ChaosWorld, *, every: float = 0.25) -> None:
        self.world = world
        self.acknowledged: dict[str, float] = {}
        """When each write was acknowledged."""
        self.refused = 0
        self.unknown = 0
        self.violations: list[str] = []
        self.seen: dict[str, Seen] = {plane.name: Seen() for plane in world.dataplanes}
        self.writing = True
        self._over = False
        self._pen = asyncio.Lock()
        """Held while a write is under way."""
        self._every = every
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._client = httpx.AsyncClient(trust_env=False, timeout=4)
        self._tokens: dict[int, str] = {}

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write_on(), name="writer")]
        for plane in self.world.dataplanes:
            self._tasks.append(
                asyncio.create_task(self._look_on(plane.name, plane.status_url), name="observer")
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not cancelled: a request that is cancelled while it connects leaves its socket open (anyio).
        self._over = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def write(self, plane: int, name: str) -> int:
        """Add a route over one control plane; the status, 0 when there was no answer."""
        url = self.world.controlplanes[plane].url
        document = {"routes": [{"name": name, "prefix": f"/{name}", "service_name": SERVICE, "public": True}]}
        try:
            headers = {"Authorization": f"Bearer {await self._token(plane)}"}
            answer = await self._client.post(f"{url}/api/v1/apply", json=document, headers=headers)
        except httpx.HTTPError:
            return 0
        if answer.status_code == 200:
            self.acknowledged[name] = time.monotonic()
        if answer.status_code == 401:
            self._tokens.clear()
        return answer.status_code

    async def put(self, routes: list[dict[str, Any]], plane: int = 0) -> None:
        """Routes that are none of the history's business."""
        headers = {"Authorization": f"Bearer {await self._token(plane, PATIENCE)}"}
        url = f"{self.world.controlplanes[plane].url}/api/v1/apply"
        answer = await self._client.post(url, json={"routes": routes}, headers=headers, timeout=PATIENCE)
        answer.raise_for_status()

    async def confirm(self, plane: int) -> None:
        """The operator's word that the store's content may be served."""
        headers = {"Authorization": f"Bearer {await self._token(plane, PATIENCE)}"}
        url = f"{self.world.controlplanes[plane].url}/api/v1/store/confirm"
        (await self._client.post(url, headers=headers, timeout=PATIENCE)).raise_for_status()
        self.forget_logins()

    def forget_logins(self) -> None:
        """Another store has other signing keys."""
        self._tokens.clear()

    async def everywhere(self, within: float) -> float:
        """Wait until every data plane shows all that was acknowledged; seconds that the slowest write took."""
        wanted = dict(self.acknowledged)
        await eventually(
            lambda: all(wanted.keys() <= seen.routes for seen in self.seen.values()),
            within=within,
            every=0.05,
        )
        lags = [seen.first[name] - at for seen in self.seen.values() for name, at in wanted.items()]
        return max(lags, default=0.0)

    def forget(self) -> None:
        """What follows is judged by itself."""
        self.acknowledged.clear()
        self.refused = self.unknown = 0

    async def _token(self, plane: int, timeout: float | None = None) -> str:
        if plane not in self._tokens:
            one = self.world.controlplanes[plane]
            form = {"username": one.secrets.admin_username, "password": one.secrets.admin_password}
            url = f"{one.url}/api/v1/auth/token"
            answer = await self._client.post(url, data=form, timeout=timeout or self._client.timeout)
            if answer.status_code != 200:
                raise httpx.HTTPError("no token")
            self._tokens[plane] = answer.json()["access_token"]
        return self._tokens[plane]

    async def _write_on(self) -> None:
        for number in self._numbers:
            await asyncio.sleep(self._every)
            if self._over:
                return
            async with self._pen:
                if self.writing:
                    status = await self.write(number % 2, f"{PREFIX}{number}")
                    self.refused += status not in (0, 200)
                    self.unknown += not status

    async def rest(self) -> None:
        """Write no more, and wait for the answer to what is under way."""
        self.writing = False
        async with self._pen:
            return

    async def _look_on(self, node: str, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while not self._over:
                await asyncio.sleep(0.1)
                try:
                    shown = (await client.get(f"{url}/debug/config")).json()
                except (httpx.HTTPError, ValueError):
                    continue
                self._look(node, shown)

    def _look(self, node: str, shown: dict[str, Any]) -> None:
        seen = self.seen[node]
        if not shown["revision"]:
            return  # it starts, and has not read its cache yet
        stamp = (int(shown.get("epoch", 0)), int(shown["revision"]))
        routes = frozenset(name for name in shown["routes"] if name.startswith(PREFIX))
        # Nor after a kill: what was served is on disk before.
        if stamp < seen.stamp:
            self.violations.append(f"{node} went back from {seen.stamp} to {stamp}")
        elif stamp[0] == seen.stamp[0] and (undone := seen.routes - routes):
            self.violations.append(f"{node} lost {sorted(undone)} at {stamp}")
        for name in routes - seen.routes:
            seen.first.setdefault(name, time.monotonic())
        seen.stamp, seen.routes, seen.looks = stamp, routes, seen.looks + 1
