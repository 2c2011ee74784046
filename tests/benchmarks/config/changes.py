"""The configuration of the benchmark, and changes of it: one at a time, or so many a second."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping

import httpx

from tests.benchmarks.config.fleet import Change
from tests.benchmarks.config.streams import INSTANCES

SERVICES = 100


def document(routes: int, upstream: int) -> dict[str, object]:
    """A hundred services with an instance each, and so many routes to them."""
    instance = {"instance_id": "1", "host": "127.0.0.1", "port": upstream}
    return {
        "scopes": [{"name": "orders:read"}],
        "services": [
            {"service_name": f"s{number}", "check_path": "/", "check_interval": 60, "instances": [instance]}
            for number in range(SERVICES)
        ],
        "routes": [route(number) for number in range(routes)],
    }


def quiet(services: int) -> dict[str, object]:
    """So many services with ten instances each, that data planes report on and nobody uses."""
    instances = [{"instance_id": f"i{number}", "host": "127.0.0.1", "port": 1} for number in range(INSTANCES)]
    return {
        "services": [
            {"service_name": f"quiet-{number}", "instances": instances} for number in range(services)
        ]
    }


_NEW = itertools.count(1)
"""Values that no route had before, so that every change is one."""


def changed(number: int) -> dict[str, object]:
    """One of the routes, as it never was."""
    return route(number, 10 + next(_NEW) / 1000)


def route(number: int, timeout: float = 5.0) -> dict[str, object]:
    """One route of many."""
    return {
        "name": f"r{number}",
        "prefix": f"/api/v1/things/r{number}",
        "service_name": f"s{number % SERVICES}",
        "public": True,
        "timeout": timeout,
    }


def change(admin: httpx.Client, number: int) -> Change:
    """Change one route."""
    begun = time.monotonic()
    answer = admin.put(f"/api/v1/config/routes/r{number}", json=changed(number)).raise_for_status()
    return Change(int(answer.headers["etag"].strip('"')), begun)


async def churn(
    url: str, headers: Mapping[str, str], routes: int, rate: float, seconds: float
) -> list[Change]:
    """`rate` changes a second, each begun at its time whatever became of the ones before."""
    made: list[Change] = []
    async with httpx.AsyncClient(base_url=url, headers=dict(headers), trust_env=False, timeout=30) as admin:

        async def one(number: int) -> None:
            begun = time.monotonic()
            answer = await admin.put(f"/api/v1/config/routes/r{number}", json=changed(number))
            answer.raise_for_status()
            made.append(Change(int(answer.headers["etag"].strip('"')), begun))

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
                tasks.create_task(one(number % routes))
    return made
