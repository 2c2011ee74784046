"""Long work beside the event loop: the loop has its turns, reads are bounded, and garbage is left alone meanwhile."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

import httpx
import pytest

from controlplane import aside
from tests.support.api import Api, running_api
from tests.support.waiting import within

ROUTES = 3000
SHORT = 0.02
"""Seconds that a block of the event loop may last; on a slow machine as much of the request's time as `SHARE`."""
SHARE = 0.12


def document(timeout: float) -> dict[str, object]:
    routes = [
        {"name": f"r-{number}", "prefix": f"/r/{number}", "service_name": "orders", "public": True}
        for number in range(ROUTES)
    ]
    return {
        "services": [{"service_name": "orders"}],
        "routes": [{**route, "timeout": timeout} for route in routes],
    }


class Blocks:
    """The longest time that the event loop had no turn: in CPU time of this process, whatever else the machine does."""

    def __init__(self) -> None:
        self.longest = self._began = self._last = 0.0

    def start(self) -> None:
        self.longest, self._began = 0.0, time.process_time()
        self._last = self._began

    @property
    def excess(self) -> float:
        """Seconds by which the longest block is too long."""
        return max(0.0, self.longest - max(SHORT, SHARE * (time.process_time() - self._began)))

    async def run(self) -> None:
        while True:
            now = time.process_time()
            self.longest, self._last = max(self.longest, now - self._last), now
            await asyncio.sleep(0.0005)


@asynccontextmanager
async def measured() -> AsyncIterator[Blocks]:
    blocks = Blocks()
    task = asyncio.create_task(blocks.run())
    with aside.giving_way():
        yield blocks
    task.cancel()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as api:
        api.client.headers.update(await api.token())
        yield api


async def test_no_request_about_thousands_of_resources_blocks_the_loop(api: Api) -> None:
    found: dict[str, float] = {}
    async with measured() as blocks:

        async def ask(name: str, request: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
            blocks.start()
            answer = await request()
            await api.seen()
            found[name] = blocks.excess
            assert answer.status_code == 200, answer.text[:300]
            return answer

        first = await ask("apply", lambda: api.client.post("/api/v1/apply", json=document(1.0)))
        old = first.json()["revision"]
        await ask("change", lambda: api.client.post("/api/v1/apply", json=document(2.0)))
        await ask("history", lambda: api.client.get("/api/v1/history"))
        await ask("one change", lambda: api.client.get(f"/api/v1/history/{old}"))
        await ask("diff", lambda: api.client.get(f"/api/v1/diff?from={old}"))
        await ask("list", lambda: api.client.get("/api/v1/routes"))
        await ask("rollback", lambda: api.client.post("/api/v1/rollback", json={"to": old}))
    assert {name: excess for name, excess in found.items() if excess} == {}


async def test_reads_are_bounded_and_do_not_hold_up_changes() -> None:
    reads, go = aside.Reads(), threading.Event()
    try:
        asked = [asyncio.ensure_future(reads.run(go.wait)) for _ in range(aside.MOST_READS)]
        await asyncio.sleep(0)
        with pytest.raises(aside.Busy):
            await reads.run(go.wait)
        assert await within(aside.change(lambda: "changed"), 30) == "changed"
        asked[0].cancel()
        await asyncio.sleep(0)
        with pytest.raises(aside.Busy):
            await reads.run(go.wait)
    finally:
        go.set()
    await asyncio.wait(asked)
    assert await reads.run(lambda: "read") == "read"


async def test_a_busy_control_plane_says_when_to_come_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "MOST_READS", 0)
    answer = await api.client.get("/api/v1/history")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_the_collector_is_as_before_afterwards() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with aside.giving_way():
        assert gc.get_threshold()[2] > 1_000_000
        assert sys.getswitchinterval() == aside.SWITCH
    assert (gc.get_threshold(), sys.getswitchinterval()) == before


@asynccontextmanager
async def full_collections() -> AsyncIterator[asyncio.Event]:
    """An event that is set by each full collection."""
    seen = asyncio.Event()

    def collecting(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            seen.set()

    gc.callbacks.append(collecting)
    try:
        yield seen
    finally:
        gc.callbacks.remove(collecting)


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def test_old_garbage_is_collected_now_and_then() -> None:
    async with full_collections() as seen, running(aside.collect(0.001, calm=0.0)):
        await within(seen.wait(), 30)


async def test_many_new_objects_are_collected_before_they_are_too_many_for_one_step() -> None:
    with aside.giving_way():
        kept: list[list[int]] = []
        async with full_collections() as seen, running(aside.collect(0.001, calm=1e9)):
            while gc.get_count()[2] < aside.GROWN:
                assert not seen.is_set()
                kept.append([len(kept)])
            await within(seen.wait(), 30)


class Thing:
    """Notes when it is freed."""

    def __init__(self, number: int, freed: list[int]) -> None:
        self._number, self._freed = number, freed

    def __del__(self) -> None:
        self._freed.append(self._number)


async def test_what_is_retired_is_freed_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "RETIRED_FOR", 0.0)
    freed: list[int] = []
    things, few = [Thing(number, freed) for number in range(1000)], [Thing(-1, freed)]
    aside.retire(things, few)
    del things, few
    assert freed == [-1], "a few are not worth it"
    freeing = asyncio.create_task(aside.free(0.0))
    longest = 0
    while (before := len(freed)) < 1001:
        await asyncio.sleep(0)
        longest = max(longest, len(freed) - before)
    freeing.cancel()
    assert longest <= 2 * aside.FREED
