"""A change on its way through the node, with workers and a control plane that are only noted down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from dataplane.config.apply import Assembly
from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, Bundle, applied, unpack
from dataplane.config.journal import Journal
from dataplane.config.reports import InstanceHealth
from dataplane.config.table import Problem, Table
from dataplane.gateway.policy.resources import HealthCheck, Instance
from dataplane.health import Probe, Prober
from dataplane.supervisor.change import Changes
from tests.support import wire
from tests.support.waiting import eventually


def bundle(revision: int, *more: wire.Resource, port: int = 9001) -> Bundle:
    """Service, instance and route "orders", and more."""
    return unpack(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", port, revision=revision),
            wire.route("orders", "orders"),
            *more,
            revision=revision,
        )
    )


class Node:
    """Everything around Changes; `events` is what happened, in order."""

    def __init__(self, folder: Path) -> None:
        self.events: list[object] = []
        self.refuse: set[int] = set()
        self.hang: set[int] = set()
        self.draining = False
        self.taken: set[int] = set()
        self.told: list[tuple[str, str]] = []
        self.arriving: asyncio.Queue[Bundle] = asyncio.Queue()
        self.prober = Prober(self.probe, lambda: None)
        self.cache = Cache(folder)
        self.changes = self.make()

    def make(self) -> Changes:
        node = cast(Any, self)
        return Changes(Assembly(max_routes=5), self.prober, node, node, Journal(self.cache), node)

    async def probe(self, _: Instance, __: HealthCheck) -> Probe:
        return Probe(True, 1.0)

    # the workers

    def set_unavailable(self, names: Iterable[str]) -> None:
        self.events.append(("unavailable", *names))

    def move_to(self, bundle: Bundle) -> None:
        self.events.append(("move", bundle.revision))

    async def apply(self, bundle: Bundle) -> tuple[Problem, ...]:
        self.events.append(("apply", bundle.revision))
        if bundle.revision in self.hang:
            await asyncio.Event().wait()
        return (Problem("", "", "no"),) if bundle.revision in self.refuse else ()

    # the ports

    def bind(self, table: Table) -> tuple[Problem, ...]:
        self.events += [("bind", port) for port in table.sites]
        taken = [port for port in table.sites if port in self.taken]
        return tuple(Problem("listener/web", "port", f"{port} is in use") for port in taken)

    def bind_some(self, table: Table) -> None:
        self.events += [("bind what is free", port) for port in table.sites]

    def keep(self, table: Table) -> None:
        self.events += [("keep", port) for port in table.sites]

    # the control plane

    async def next_bundle(self, served: Bundle) -> Bundle:
        return await self.arriving.get()

    def ack(self, revision: int) -> None:
        self.events.append(("ack", revision))

    def nack(self, revision: int, problems: Iterable[Problem], *, permanent: bool = True) -> None:
        self.events.append(("nack" if permanent else "nack for now", revision, *map(str, problems)))

    def reconnect(self) -> None:
        self.events.append("reconnect")

    def report_health(self, instances: Iterable[InstanceHealth]) -> None:
        self.told = [(one.id, one.status.value) for one in instances]

    async def hears(self, *bundles: Bundle) -> list[object]:
        """What happens when these arrive."""
        self.events.clear()
        for one in bundles:
            self.arriving.put_nowait(one)
        answers = ("ack", "nack", "nack for now")
        await eventually(lambda: sum(cast(Any, event)[0] in answers for event in self.events) == len(bundles))
        return list(self.events)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@asynccontextmanager
async def following(node: Node, restored: Bundle | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(node.changes.follow(restored))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_new_instances_are_known_as_starting_before_the_workers_get_them(node: Node) -> None:
    async with following(node):
        assert await node.hears(bundle(5)) == [("unavailable", "orders/orders-1"), ("apply", 5), ("ack", 5)]
        assert node.changes.served.revision == 5
        assert node.told == [("orders-1", "starting")]


async def test_a_change_that_fails_without_an_answer_is_delivered_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(bundle: Bundle) -> tuple[Problem, ...]:
        raise ZeroDivisionError

    monkeypatch.setattr(node, "apply", broken)
    node.arriving.put_nowait(bundle(5))
    with pytest.raises(ExceptionGroup):
        await node.changes.follow(None)
    assert node.events[-1] == "reconnect"


async def test_the_same_again_is_acked_at_once(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
        assert await node.hears(bundle(5)) == [("ack", 5)]


async def test_what_cannot_be_a_table_never_reaches_a_worker(node: Node) -> None:
    wrong = bundle(6, wire.route("stray", "nowhere"))
    async with following(node):
        await node.hears(bundle(5))
        assert await node.hears(wrong) == [
            ("nack", 6, "route/stray service_name: service 'nowhere' does not exist")
        ]
        assert (node.changes.served.revision, node.changes.table.revision, node.changes.rejections) == (
            5,
            5,
            1,
        )
        assert (await node.hears(bundle(7)))[-1] == ("ack", 7)


async def test_what_a_worker_refuses_is_taken_back_everywhere(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
        node.refuse.add(6)
        events = await node.hears(bundle(6, wire.user("alice"), port=9002))
        assert events == [
            ("unavailable", "orders/orders-1"),  # it has moved to another port
            ("apply", 6),
            ("unavailable", "orders/orders-1"),  # and back
            ("nack for now", 6, "no"),
        ]
        assert (node.changes.table.revision, dict(node.changes.table.users)) == (5, {})
        assert (await node.hears(bundle(7)))[-1] == ("ack", 7)


class Endless:
    """A pace at which nothing ever gets its turn."""

    def wait(self, _: float) -> float:
        return 3600.0


async def test_instances_do_not_wait_for_their_turn(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.supervisor.change.Pace", Endless)
    served = wire.snapshot(wire.service("orders"), wire.route("orders", "orders"), revision=5)
    one = wire.snapshot(*served.resources, wire.instance("orders", "orders-1", 9001), revision=6)
    other = wire.snapshot(*one.resources, wire.route("more", "orders"), revision=7)
    base = unpack(served)
    moving = applied(base, wire.delta(served, one))
    async with following(node, base):
        await eventually(lambda: node.changes.served.revision == 5)
        assert (await node.hears(moving))[-1] == ("ack", 6)
        assert (await node.hears(applied(moving, wire.delta(one, served, revision=7))))[-1] == ("ack", 7)
        node.events.clear()
        node.arriving.put_nowait(applied(moving, wire.delta(one, other)))
        await eventually(node.arriving.empty)
        assert node.events == [] and node.changes.served.revision == 7


async def test_nothing_goes_back(node: Node) -> None:
    """The store may have been wiped, or restored from a backup: that is for its operator to say."""
    async with following(node):
        await node.hears(bundle(5))
        (event,) = await node.hears(bundle(4))
        answer, revision, why = cast(Any, event)
        assert (answer, revision) == ("nack", 4)
        assert "is older than the configuration served, revision 5; if this is intended" in why
        assert node.changes.served.revision == 5
        confirmed = replace(bundle(4), epoch=1000)
        assert (await node.hears(confirmed))[-1] == ("ack", 4)
        assert node.changes.served is confirmed


@pytest.mark.parametrize(
    ("served", "offered", "why"),
    [
        (("a", 0, 5), ("a", 0, 5), ""),
        (("a", 0, 5), ("a", 0, 4), "older"),
        (("a", 0, 5), ("b", 0, 6), "another store"),
        (("a", 0, 5), ("b", 1, 2), ""),
        (("b", 1, 2), ("a", 0, 5), "another store"),
        (("a", 2, 2), ("a", 1, 5), "older"),
        (("a", 1, 5), ("a", 1, 4), "older"),
        (("a", 0, 5), ("", 0, 6), ""),
        (("", 0, 5), ("b", 0, 6), ""),
        (("", 0, 5), ("b", 0, 4), "older"),
        (("", 0, 0), ("b", 0, 1), ""),
    ],
)
def test_what_may_follow(served: tuple[str, int, int], offered: tuple[str, int, int], why: str) -> None:
    one, other = (Bundle(revision, "", {}, lineage, epoch) for lineage, epoch, revision in (served, offered))
    assert why in other.behind(one)
    assert bool(why) == bool(other.behind(one))


async def test_what_was_served_is_known_across_a_restart(node: Node) -> None:
    async with following(node):
        await node.hears(replace(bundle(5), lineage="a", epoch=7))
    node.changes = node.make()
    async with following(node, await node.changes.restore()):
        await eventually(lambda: node.changes.served.revision == 5)
        assert (node.changes.served.lineage, node.changes.served.epoch) == ("a", 7)
        (event,) = await node.hears(replace(bundle(6), lineage="b", epoch=7))
        assert cast(Any, event)[0] == "nack"


async def test_what_was_served_is_restored_after_a_restart(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
    node.events.clear()
    node.changes = node.make()
    restored = await node.changes.restore()
    assert restored is not None
    assert node.events == [("unavailable", "orders/orders-1"), ("move", 5)]
    assert node.changes.served is NOTHING
    async with following(node, restored):
        await eventually(lambda: node.changes.served.revision == 5)
        assert await node.hears(bundle(5)) == [("ack", 5)]


async def test_a_rejected_configuration_is_not_kept(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
        node.refuse.add(6)
        await node.hears(bundle(6), bundle(7, wire.route("stray", "nowhere")))
    node.changes = node.make()
    restored = await node.changes.restore()
    assert restored is not None
    assert restored.revision == 5


async def test_a_cache_without_sense_is_a_warning(node: Node) -> None:
    node.cache.replace(b"\xff\xff")
    assert await node.changes.restore() is None
    assert (node.cache.warnings, "is not a change" in node.cache.problem) == (1, True)


async def test_what_a_worker_may_have_served_is_on_disk(node: Node) -> None:
    """Killed before every worker has answered, it comes back with what one of them may have shown to somebody."""
    async with following(node):
        await node.hears(bundle(5))
        node.hang.add(6)
        node.arriving.put_nowait(bundle(6))
        await eventually(lambda: ("apply", 6) in node.events)
        node.changes = node.make()
        restored = await node.changes.restore()
        assert restored is not None
        assert restored.revision == 6


async def test_a_change_on_disk_that_workers_refuse_gives_way_to_the_one_before(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
        node.hang.add(6)
        node.arriving.put_nowait(bundle(6))
        await eventually(lambda: ("apply", 6) in node.events)
    node.changes = node.make()
    node.hang.clear()
    node.refuse.add(6)
    async with following(node, await node.changes.restore()):
        await eventually(lambda: node.changes.served.revision == 5)
        assert node.changes.table.revision == 5
        assert (await node.hears(bundle(7)))[-1] == ("ack", 7)
    node.changes = node.make()
    restored = await node.changes.restore()
    assert restored is not None
    assert restored.revision == 7


async def test_a_watermark_is_on_disk_when_it_is_acked(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5), replace(bundle(5), revision=9))
        restored = await node.make().restore()
        assert restored is not None
        assert restored.revision == 9


async def test_a_first_configuration_that_workers_refuse_is_not_kept(node: Node) -> None:
    node.refuse.add(5)
    async with following(node):
        await node.hears(bundle(5))
        assert node.cache.load() == []


async def test_a_restored_configuration_that_workers_refuse_is_not_served(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5))
    node.changes = node.make()
    node.refuse.add(5)
    async with following(node, await node.changes.restore()):
        await eventually(lambda: node.changes.rejections == 1)
        assert (node.changes.served, node.changes.table.revision) == (NOTHING, 0)
        assert (await node.hears(bundle(6)))[-1] == ("ack", 6)


async def test_a_change_that_ends_with_the_drain_is_not_answered(node: Node) -> None:
    node.draining = True
    async with following(node):
        node.arriving.put_nowait(bundle(5))
        await eventually(lambda: ("apply", 5) in node.events)
        await asyncio.sleep(0)
        assert ("ack", 5) not in node.events
        assert node.changes.served is NOTHING


def about_ports(events: list[object]) -> list[object]:
    return [event for event in events if cast(Any, event)[0] != "unavailable"]


async def test_a_port_that_cannot_be_bound_is_a_nack_and_nothing_changes(node: Node) -> None:
    node.taken = {81}
    web, taken = wire.listener("web", 80, revision=6), wire.listener("web", 81, revision=7)
    async with following(node):
        await node.hears(bundle(5))
        served = about_ports(await node.hears(bundle(6, web)))
        assert served == [("bind", 80), ("apply", 6), ("keep", 80), ("ack", 6)]
        refused = await node.hears(bundle(7, taken))
        assert refused == [("bind", 81), ("nack for now", 7, "listener/web port: 81 is in use")]
        assert (node.changes.served.revision, set(node.changes.table.sites)) == (6, {80})
        served = about_ports(await node.hears(bundle(8, web)))
        assert served == [("bind", 80), ("apply", 8), ("keep", 80), ("ack", 8)]


async def test_a_port_of_a_change_that_workers_reject_closes_again(node: Node) -> None:
    node.refuse = {6}
    async with following(node):
        await node.hears(bundle(5, wire.listener("web", 80)))
        events = about_ports(await node.hears(bundle(6, wire.listener("web", 81, revision=6))))
        assert events == [("bind", 81), ("apply", 6), ("keep", 80), ("nack for now", 6, "no")]


async def test_what_is_restored_is_served_without_the_ports_that_are_taken(node: Node) -> None:
    async with following(node):
        await node.hears(bundle(5, wire.listener("web", 80)))
    node.changes = node.make()
    node.events.clear()
    await node.changes.restore()
    assert about_ports(node.events) == [("bind what is free", 80), ("move", 5)]
