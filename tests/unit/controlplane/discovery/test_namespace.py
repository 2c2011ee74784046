"""Lists and watches of a namespace, without a server: when the slices are told, and when they are listed again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, cast

import pytest

from controlplane.discovery import backoff
from controlplane.discovery import namespace as module
from controlplane.discovery.kubernetes_api import ApiUnavailable, Event, Garbled, Gone, KubernetesApi, Listing
from controlplane.discovery.namespace import Namespace
from controlplane.discovery.slices import Endpoint, Slice
from tests.support.waiting import eventually


def made(name: str, *addresses: str, service: str = "orders") -> Slice:
    endpoints = tuple(Endpoint(one, True, True, False) for one in addresses)
    return Slice(name, service, "IPv4", (("http", 80),), endpoints)


class Server:
    """Lists `slices`. Each watch is what the test scripts next: an error, or a queue of events and errors."""

    def __init__(self) -> None:
        self.slices: list[Slice] = []
        self.lists = 0
        self.refuses: Exception | None = None
        self.events = asyncio.Queue[Event | Exception]()
        self.version = 1

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Server]:
        yield self

    async def list(self, namespace: str, services: Collection[str]) -> Listing:
        self.lists += 1
        if self.refuses is not None:
            raise self.refuses
        return Listing(self.slices, str(self.version))

    @contextlib.asynccontextmanager
    async def watch(
        self, namespace: str, services: Collection[str], version: str
    ) -> AsyncIterator[AsyncIterator[Event]]:
        if self.refuses is not None:
            raise self.refuses
        yield self._stream()

    async def _stream(self) -> AsyncIterator[Event]:
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    def put(self, one: Slice) -> None:
        self.version += 1
        self.events.put_nowait(Event(str(self.version), put=one))

    def remove(self, name: str) -> None:
        self.version += 1
        self.events.put_nowait(Event(str(self.version), removed=name))


class Bed:
    def __init__(self) -> None:
        self.server = Server()
        self.seen: dict[str, set[str]] = {}
        self.told = 0
        self.failures: list[str] = []

    def changed(self, service: str, slices: Sequence[Slice]) -> None:
        self.told += 1
        self.seen[service] = {each.address for one in slices for each in one.endpoints}

    async def sees(self, *addresses: str) -> None:
        await eventually(lambda: self.seen.get("orders") == set(addresses))


@pytest.fixture
async def bed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bed]:
    for name, value in (("AFTER_END", 0.0), ("AFTER_BRIEF", 0.01), ("GATHER", 0.05)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(backoff, "pause", lambda failures, chance: 0.01)
    made = Bed()
    api = cast(KubernetesApi, cast(Any, made.server))
    following = Namespace(api, "shop", {"orders", "stock"}, made.changed, made.failures.append)
    task = asyncio.create_task(following.run())
    yield made
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_many_changes_are_told_at_once(bed: Bed) -> None:
    await bed.sees()
    told = bed.told
    for number in range(200):
        bed.server.put(made("a", *(f"10.0.0.{each}" for each in range(number))))
    await bed.sees(*(f"10.0.0.{each}" for each in range(199)))
    assert bed.told - told < 20


@pytest.mark.parametrize("error", [Gone(), Garbled("no JSON object")])
async def test_after_a_version_that_cannot_be_continued_the_slices_are_listed_again(
    bed: Bed, error: Exception
) -> None:
    await bed.sees()
    bed.server.slices = [made("a", "10.0.0.1")]
    bed.server.events.put_nowait(error)
    await bed.sees("10.0.0.1")
    assert bed.server.lists == 2 and not bed.failures


async def test_one_failure_after_an_answer_is_no_problem(bed: Bed) -> None:
    await bed.sees()
    bed.server.events.put_nowait(ApiUnavailable("for a moment"))
    bed.server.put(made("a", "10.0.0.1"))
    await bed.sees("10.0.0.1")
    assert not bed.failures


async def test_the_second_failure_in_a_row_is_a_problem(bed: Bed) -> None:
    await bed.sees()
    bed.server.refuses = ApiUnavailable("for long")
    bed.server.events.put_nowait(ApiUnavailable("for a moment"))
    await eventually(lambda: bed.failures)
    assert bed.failures[0] == "for long"


async def test_changes_before_a_failure_do_not_end_the_problem(bed: Bed) -> None:
    await bed.sees()
    bed.server.put(made("a", "10.0.0.1"))
    await bed.sees("10.0.0.1")
    # Within the time in which changes are gathered.
    bed.server.put(made("a", "10.0.0.2"))
    bed.server.refuses = ApiUnavailable("for long")
    bed.server.events.put_nowait(ApiUnavailable("for a moment"))
    await eventually(lambda: len(bed.failures) > 20)
    assert bed.seen["orders"] == {"10.0.0.1"}
    bed.server.refuses = None
    await bed.sees("10.0.0.2")


async def test_a_server_whose_versions_are_always_gone_is_a_problem(bed: Bed) -> None:
    await bed.sees()
    bed.server.refuses = Gone()
    bed.server.events.put_nowait(Gone())
    await eventually(lambda: bed.failures)
    assert bed.failures[0] == "the API server has not the version that it has listed"


async def test_slices_beyond_the_bound_count_once_there_is_room(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.discovery.slices.MOST_SLICES", 2)
    await bed.sees()
    for name in "abc":
        bed.server.put(made(name, f"10.0.0.{ord(name)}"))
    await eventually(lambda: bed.failures)
    bed.server.slices = [made(name, f"10.0.0.{ord(name)}") for name in "bc"]
    bed.server.remove("a")
    await bed.sees("10.0.0.98", "10.0.0.99")
