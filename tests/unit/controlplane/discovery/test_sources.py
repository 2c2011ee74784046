"""Which sources run: those that are wanted, each once, and no more than the bounds allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from controlplane.discovery import sources as module
from controlplane.discovery.answer import Answer
from controlplane.discovery.dns import LookupFailed
from controlplane.discovery.records import Records
from controlplane.discovery.sources import NO_ACCESS, AllSources
from controlplane.model.base import parse_as
from controlplane.model.discovery import Discovery, DnsSource
from tests.support.waiting import eventually


class Scripted:
    """A resolver that knows some names."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []

    async def look_up(self, source: DnsSource, *, again: bool = False) -> Records:
        self.asked.append(source.name)
        if source.name == "bug.example":
            raise RuntimeError("a bug")
        if source.name not in self.addresses:
            raise LookupFailed("no server")
        return Records(self.addresses[source.name], ttl=300)


class Bed:
    def __init__(self) -> None:
        self.resolver = Scripted()
        self.sources = AllSources(self.resolver, None, lambda host: None)
        self.answers: dict[str, Answer] = {}

    def follow(self, wanted: Mapping[str, Discovery]) -> None:
        self.sources.follow(wanted, lambda service, source, answer: self.answers.update({service: answer}))


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    made = Bed()
    yield made
    await made.sources.stop()


def named(name: str) -> Discovery:
    return parse_as(Discovery, {"dns": {"name": name, "port": 80}})


KUBERNETES = parse_as(Discovery, {"kubernetes": {"namespace": "shop", "service": "orders"}})


async def test_a_source_that_does_not_change_keeps_running(bed: Bed) -> None:
    bed.resolver.addresses = {"a.example": ["10.0.0.1"], "b.example": ["10.0.0.2"]}
    bed.follow({"one": named("a.example")})
    await eventually(lambda: "one" in bed.answers)
    bed.follow({"one": named("a.example"), "two": named("b.example")})
    await eventually(lambda: "two" in bed.answers)
    assert bed.resolver.asked == ["a.example", "b.example"]
    bed.follow({"one": named("b.example")})
    await eventually(lambda: len(bed.resolver.asked) == 3)
    bed.follow({})
    assert not [
        task
        for task in asyncio.all_tasks()
        if task.get_name().startswith("discovery") and not task.cancelling()
    ]


async def test_a_silent_server_is_told(bed: Bed) -> None:
    bed.follow({"one": named("a.example")})
    await eventually(lambda: "one" in bed.answers)
    assert bed.answers["one"] == Answer(None, "no server")


async def test_a_bug_is_told_and_ends_no_other_source(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.resolver.addresses = {"a.example": ["10.0.0.1"]}
    bed.follow({"one": named("bug.example"), "two": named("a.example")})
    await eventually(lambda: len(bed.answers) == 2)
    assert bed.answers["one"] == Answer(None, "internal error; see the control plane's log")
    assert bed.answers["two"].problem == ""
    assert [record.message for record in caplog.records] == ["a source of discovery failed"]


async def test_kubernetes_without_access(bed: Bed) -> None:
    bed.follow({"one": KUBERNETES})
    assert bed.answers == {"one": Answer(None, NO_ACCESS)}


async def test_bounds(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 1)
    bed.follow({"one": named("a.example"), "two": named("b.example")})
    assert bed.answers["two"].problem == "more than 1 services are discovered by DNS"
    await eventually(lambda: bed.resolver.asked)
    assert set(bed.resolver.asked) == {"a.example"}
