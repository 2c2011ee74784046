"""A bed for discovery: control planes and data planes as processes, and the views that show what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from demo.processes import ControlPlane, DataPlane, Process, Secrets, answers, wait_until
from tests.support.etcd import Etcd
from tests.support.waiting import eventually


class Bed:
    """Control planes as processes on one etcd, and the service `orders`."""

    def __init__(self, folder: Path, etcd: Etcd, settings: Mapping[str, str]) -> None:
        self.plane = ControlPlane(etcd.url, Secrets(), settings={"ANONYMOUS_READ": "true", **settings})
        self._folder = folder
        self._running: list[Process] = []
        self._client = httpx.AsyncClient(trust_env=False, timeout=30)

    async def start(self, plane: ControlPlane | DataPlane) -> Process:
        process = plane.start(self._folder, wait=False)
        self._running.append(process)
        await asyncio.to_thread(wait_until, answers(plane.ready_url), process)
        return process

    async def end(self) -> None:
        await self._client.aclose()
        for process in reversed(self._running):
            await asyncio.to_thread(process.kill)

    async def apply(self, **discovery: Any) -> httpx.Response:
        """The service with this discovery, and a route to it."""
        service = {"service_name": "orders", "check_interval": 1, "discovery": discovery}
        route = {"name": "orders", "prefix": "/orders", "service_name": "orders", "public": True}

        def send() -> httpx.Response:
            with self.plane.admin() as admin:
                return admin.post("/api/v1/apply", json={"services": [service], "routes": [route]})

        return await asyncio.to_thread(send)

    async def get(self, path: str, plane: ControlPlane | None = None) -> httpx.Response:
        return await self._client.get(f"{(plane or self.plane).url}{path}")

    async def service(self, plane: ControlPlane | None = None) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get("/api/v1/services/orders", plane)).raise_for_status().json()
        return found

    async def knows(self, *hosts: str, plane: ControlPlane | None = None) -> dict[str, Any]:
        """Wait until these are the hosts of its instances."""

        async def same() -> dict[str, Any] | None:
            found = await self.service(plane)
            return found if {one["host"] for one in found["instances"].values()} == set(hosts) else None

        found: dict[str, Any] | None = await eventually(same, every=0.1)
        assert found is not None
        return found

    async def fails(self, problem: str) -> dict[str, Any]:
        """Wait until discovery has this problem; empty: none."""

        async def told() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.service())["discovered"]
            matches = problem in found["problem"] if problem else not found["problem"]
            return found if matches else None

        found: dict[str, Any] | None = await eventually(told, every=0.1)
        assert found is not None
        return found
