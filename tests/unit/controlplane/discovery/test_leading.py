"""How long a control plane leads discovery: through refusals of the store, but not while its sources are silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest

from controlplane.commands.executor import Executor
from controlplane.commands.plan import Done, Planner, Q, R
from controlplane.commands.plans.discovery import Discover
from controlplane.discovery import discoverer as module
from controlplane.discovery import resignation
from controlplane.discovery.answer import Answer, unanswered
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.discovery.discoverer import Tell
from controlplane.discovery.running import run
from controlplane.identity import Hasher
from controlplane.model.discovery import Discovery
from controlplane.store.errors import AccessDenied, TooLarge
from tests.support.control_plane import ControlPlane
from tests.support.waiting import eventually
from tests.unit.controlplane.discovery.test_discoverer import SERVICE, Scripted, found, running


class Denied(Executor):
    """May not write at first."""

    refusals = 3

    async def run(self, plan: Planner[Q, R], request: Q) -> Done[R]:
        if isinstance(request, Discover) and self.refusals:
            self.refusals -= 1
            raise AccessDenied("etcd refuses: permission denied")
        return await super().run(plan, request)


async def test_a_store_that_refuses_ends_no_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with running(Denied) as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        said = [line.message for line in caplog.records if line.levelno == logging.WARNING]
        assert said == ["discovery cannot be written"], "once"


class TooMuch(Executor):
    """The entry of the first service is too large."""

    async def run(self, plan: Planner[Q, R], request: Q) -> Done[R]:
        if isinstance(request, Discover) and request.service_name == "a":
            raise TooLarge("1.6 MiB")
        return await super().run(plan, request)


async def test_an_answer_that_the_store_refuses_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 60.0)
    names = ["a", *(f"b{number}" for number in range(2 * module.AT_ONCE))]
    async with running(TooMuch) as bed:
        for name in names:
            await bed.plane.commands.put("service", {**SERVICE, "service_name": name}, author="test")
        await eventually(lambda: len(bed.sources.wanted) == len(names))
        for name in names:
            bed.sources.tell(name, Answer((found(1),)))
        await bed.serves(*(f"{name}/i1" for name in names[1:]))


class Silent(Scripted):
    """Sources that never answer this control plane, as without access."""

    def follow(self, wanted: Mapping[str, Discovery], tell: Tell) -> None:
        super().follow(wanted, tell)
        for name in wanted:
            self.tell(name, unanswered("no access"))


class Answering(Scripted):
    def follow(self, wanted: Mapping[str, Discovery], tell: Tell) -> None:
        super().follow(wanted, tell)
        for name in wanted:
            self.tell(name, Answer((found(1),)))


async def test_a_control_plane_that_its_sources_do_not_answer_leaves_the_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resignation, "FIRST", 0.1)
    async with ControlPlane() as plane, asyncio.TaskGroup() as group:
        await eventually(plane.watcher.caught_up.is_set)
        revision = (await plane.commands.put("service", SERVICE, author="test")).revision
        await plane.published(revision)
        counts = {"a": DiscoveryCounts(), "b": DiscoveryCounts()}

        def candidate(name: str, sources: Scripted) -> asyncio.Task[None]:
            work = run(plane.store, plane.watcher, Hasher(), name, sources, counts[name])
            return group.create_task(work)

        tasks = [candidate("a", Silent())]
        await eventually(lambda: counts["a"].leads)
        tasks.append(candidate("b", Answering()))
        await eventually(lambda: ("instance", "orders/i1") in plane.current.resources)
        assert counts["b"].leads and not counts["a"].leads
        for task in tasks:
            task.cancel()


ANSWERS = {"heard": Answer(()), "silent": unanswered("no response")}
FROM = {
    "dns": {"dns": {"name": "orders.example", "port": 80}},
    "kubernetes": {"kubernetes": {"namespace": "shop", "service": "orders"}},
}


@pytest.mark.parametrize(
    ("told", "answered"),
    [
        ({}, None),
        ({"dns": "heard", "kubernetes": "heard"}, True),
        ({"dns": "silent", "kubernetes": "heard"}, True),
        ({"dns": "heard", "kubernetes": "silent"}, False),
        ({"dns": "silent", "kubernetes": "silent"}, False),
        ({"dns": "heard"}, None),
        ({"dns": "silent"}, None),
    ],
)
async def test_whether_sources_answer(told: dict[str, str], answered: bool | None) -> None:
    async with running() as bed:
        for name, source in FROM.items():
            await bed.plane.commands.put("service", {"service_name": name, "discovery": source}, author="t")
        await eventually(lambda: bed.sources.wanted.keys() == FROM.keys())
        for name, what in told.items():
            bed.sources.tell(name, ANSWERS[what])
        assert bed.discoverer._answered() is answered
