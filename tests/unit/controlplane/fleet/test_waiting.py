"""Waiting for data planes: what counts, who is named, and that nobody waits longer than needed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.progress import ALL, Progress, Quorum
from controlplane.fleet.reports import (
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    NodeState,
    ResetReport,
    StatsReport,
)
from controlplane.fleet.tally import Count, PartOf, Tally
from controlplane.fleet.thresholds import GAP, Group
from controlplane.fleet.waiting import Waiting
from controlplane.model.capabilities import Lacking, UnknownField
from controlplane.model.resources import Scope, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import encode, key_of
from controlplane.store import MemoryStore, Put


class Scene:
    """A store that is watched, and a fleet that a test plays."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.watcher, self.fleet = Watcher(self.store), Fleet()
        self.waiting = Waiting(self.watcher, self.fleet)

    async def put(self, resource: Scope | Service) -> int:
        put = Put(key_of(resource.KIND, resource.name), encode(resource))
        return await self.store.commit({}, [put])

    async def published(self, resource: Scope | Service) -> int:
        revision = await self.put(resource)
        wake = asyncio.Event()
        with self.watcher.changed.wakes(wake):
            while self.watcher.current is None or self.watcher.current.revision < revision:
                await wake.wait()
                wake.clear()
        return revision

    @property
    def digest(self) -> str:
        assert self.watcher.current is not None
        return self.watcher.current.digest

    def served(self, revision: int, seconds: float = 5.0, quorum: Quorum = ALL) -> asyncio.Task[Progress]:
        return asyncio.create_task(self.waiting.served(revision, seconds, quorum))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    following = asyncio.create_task(scene.watcher.run())
    yield scene
    following.cancel()
    await asyncio.wait([following])


ORDERS = Service(service_name="orders")


async def still_waiting(task: asyncio.Task[Progress]) -> bool:
    """Whether it goes on although everything that could end it was seen."""
    done, _ = await asyncio.wait([task], timeout=0.03)
    return not done


async def test_over_when_the_last_data_plane_has_answered(scene: Scene) -> None:
    scene.fleet.hello("a", "1")
    scene.fleet.hello("b", "1")
    revision = await scene.published(ORDERS)
    task = scene.served(revision)
    scene.fleet.sent("a", revision)
    assert await still_waiting(task)
    scene.fleet.ack("a", revision, scene.digest)
    assert await still_waiting(task)
    scene.fleet.ack("b", revision, scene.digest)
    seen = await task
    assert (seen.complete, seen.done, seen.needed, seen.stragglers) == (True, 2, 2, ())
    assert seen.digest == scene.digest


async def test_one_that_refuses_ends_the_wait_for_all_while_others_have_yet_to_answer(scene: Scene) -> None:
    for node in ("a", "b", "c"):
        scene.fleet.hello(node, "1")
    revision = await scene.published(ORDERS)
    task = scene.served(revision)
    assert await still_waiting(task)
    scene.fleet.nack("c", revision, [], scene.digest)
    assert (await task).rejected


NODES = [f"gw-{number}" for number in range(50)]


async def test_a_thousand_waits_for_revisions_cost_what_changed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each counts the fleet when it begins and when it is over, and not whenever a data plane answers."""
    for node in NODES:
        scene.fleet.hello(node, "1")
    revisions = [await scene.published(Service(service_name=f"s{number}")) for number in range(10)]
    looked, count = Counter[str](), Tally.count

    def counted(self: Tally, revision: int, part_of: PartOf, *, reported: bool = False) -> Count:
        looked["count"] += 1
        return count(self, revision, part_of, reported=reported)

    def listed(published: Snapshot | None) -> tuple[NodeState, ...]:
        raise AssertionError("nobody asked for a list of all data planes")

    monkeypatch.setattr(Tally, "count", counted)
    monkeypatch.setattr(scene.fleet.views, "dataplanes", listed)
    quorums = [ALL, Quorum(percent=50.0), Quorum(count=3)]
    tasks = [scene.served(revisions[number % 10], 60.0, quorums[number % 3]) for number in range(1000)]
    await asyncio.sleep(0)
    for node in NODES[1:]:
        scene.fleet.ack(node, revisions[-1], scene.digest)
        scene.fleet.leaving(node, {})
        await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        if number % 3:
            assert (await task).complete
    assert not any(task.done() for task in tasks[::3])
    scene.fleet.ack(NODES[0], revisions[-1], scene.digest)
    assert all(seen.complete for seen in await asyncio.gather(*tasks))
    # At the beginning, by the one who looks after all, and for the answer.
    assert looked["count"] <= 3 * len(tasks) + 3 * len(NODES)


async def test_a_thousand_waits_for_instances_seldom_look_at_a_data_plane_that_is_not_the_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = await scene.published(ORDERS)
    instances = [f"i{number}" for number in range(1000)]

    def found(status: InstanceStatus) -> list[InstanceHealth]:
        return [InstanceHealth("orders", one, status, 1.0) for one in instances]

    for node in NODES:
        scene.fleet.hello(node, "1", revision, scene.digest)
        scene.fleet.health(node, found(InstanceStatus.STARTING), revision)
    looked, state = Counter[str](), scene.fleet.state

    def counted(node: str) -> NodeState | None:
        looked["node"] += 1
        return state(node)

    waits = (scene.waiting.routable("orders", one, revision, 60.0) for one in instances)
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.sleep(0)
    monkeypatch.setattr(scene.fleet, "state", counted)
    for node in NODES:
        assert not any(task.done() for task in tasks)
        scene.fleet.health(node, found(InstanceStatus.HEALTHY), changes=True)
        await asyncio.sleep(2 * GAP)  # a wait that was woken has looked
    assert all(seen.complete for seen in await asyncio.gather(*tasks))
    # The last of 50 in an order of chance changes four or five times on its way.
    assert looked["node"] <= 10 * len(tasks)


async def test_waits_of_many_kinds_end_when_they_should(scene: Scene) -> None:
    """Held against a look at each data plane, after everything that may happen, at random."""
    chance = random.Random(7)
    revisions = [await scene.published(Service(service_name=f"s{number}")) for number in range(3)]
    name = ("orders", "a")
    for _ in range(300):
        node = f"gw-{chance.randrange(4)}"
        revision = chance.choice([0, *revisions])
        digest = chance.choice(["", "other", scene.digest])
        match chance.randrange(7):
            case 0:
                scene.fleet.hello(node, "1", revision, digest, {name: 1} if chance.random() < 0.5 else {})
            case 1:
                scene.fleet.disconnect(node)
            case 2:
                scene.fleet.ack(node, revision, digest)
            case 3:
                scene.fleet.nack(node, revision, [], digest)
            case 4:
                scene.fleet.leaving(node, {name: 2} if chance.random() < 0.5 else {})
            case 5:
                scene.fleet.health(node, [chance.choice([ILL, WELL])], revision)
            case 6:
                states = {
                    f"gw-{number}": NodeState(
                        f"gw-{number}", "1", chance.random() < 0.8, chance.random(), 0, revision, digest
                    )
                    for number in range(2, 6)
                }
                scene.fleet.receive("two", PeerState(states))
        asked = chance.choice(revisions)
        quorum = chance.choice([ALL, Quorum(count=2), Quorum(percent=50.0)])
        seen = await scene.waiting.served(asked, 0, quorum)
        assert seen.done == sum(one.done for one in seen.nodes)
        assert is_over(scene, asked, Group(quorum, strict=True)) == (seen.complete or seen.rejected)
        for seen, reported in (
            (await scene.waiting.drained(*name, asked, 0), False),
            (await scene.waiting.routable(*name, asked, 0), True),
        ):
            assert seen.done == sum(one.done for one in seen.nodes)
            assert seen.complete == (not seen.stragglers)
            if seen.complete or all(one.rejection for one in seen.stragglers):
                assert is_over(scene, asked, Group(reported=reported))


def is_over(scene: Scene, revision: int, group: Group) -> bool:
    return scene.waiting._thresholds.is_over(revision, group)


async def test_a_later_revision_holds_the_earlier_one(scene: Scene) -> None:
    scene.fleet.hello("a", "1")
    first = await scene.published(ORDERS)
    second = await scene.published(Service(service_name="payments"))
    scene.fleet.ack("a", second, scene.digest)
    assert (await scene.waiting.served(first, 0)).complete


async def test_a_change_that_means_nothing_to_data_planes(scene: Scene) -> None:
    revision = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", revision, scene.digest)
    later = await scene.put(Scope(name="orders:read"))
    seen = await scene.waiting.served(later, 5)
    assert seen.complete
    assert seen.nodes[0].applied_revision >= later


async def test_nobody_connected_nobody_to_wait_for(scene: Scene) -> None:
    revision = await scene.published(ORDERS)
    assert (await scene.waiting.served(revision, 0)).complete
    seen = await scene.waiting.served(revision, 0, Quorum(count=1))
    assert not seen.complete
    assert seen.needed == 1


async def test_one_that_left_does_not_count_and_is_shown(scene: Scene) -> None:
    scene.fleet.hello("a", "1")
    revision = await scene.published(ORDERS)
    task = scene.served(revision)
    assert await still_waiting(task)
    scene.fleet.disconnect("a")
    seen = await task
    assert seen.complete
    assert str(seen.nodes[0]) == "a (is not connected)"


async def test_time_out_names_the_stragglers(scene: Scene) -> None:
    first = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", first, scene.digest)
    scene.fleet.hello("b", "1", first, scene.digest)
    revision = await scene.published(Service(service_name="payments"))
    scene.fleet.ack("a", revision, scene.digest)
    seen = await scene.waiting.served(revision, 0.01)
    assert not seen.complete
    assert not seen.rejected
    assert list(map(str, seen.stragglers)) == [f"b (serves revision {first})"]


async def test_a_rejection_ends_the_wait_at_once(scene: Scene) -> None:
    first = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", first, scene.digest)
    revision = await scene.published(Service(service_name="payments"))
    task = scene.served(revision, 300)
    assert await still_waiting(task)
    scene.fleet.nack("a", revision, [NodeProblem("", "routes", "too many")], scene.digest)
    seen = await task
    assert seen.rejected
    assert str(seen.stragglers[0]) == f"a (serves revision {first}, rejected {revision}: routes: too many)"


async def test_one_that_is_not_given_it_ends_the_wait_at_once(scene: Scene) -> None:
    scene.fleet.hello("new", "2")
    scene.fleet.hello("old", "1")
    revision = await scene.published(ORDERS)
    scene.fleet.ack("new", revision, scene.digest)
    task = scene.served(revision)
    assert await still_waiting(task)
    unknown = UnknownField(("service", "orders"), "tls", "services.tls")
    scene.fleet.withhold("old", revision, scene.digest, Lacking(frozenset({"services.tls"}), 3, (unknown,)))
    progress = await task
    assert progress.rejected
    (straggler,) = progress.stragglers
    assert str(straggler) == (
        f"old (serves revision 0, revision {revision} is withheld: "
        "service/orders tls: needs the capability services.tls, "
        "which this data plane (version 1) lacks: upgrade it, or remove the field from the resource; "
        "2 more resources need capabilities that this data plane (version 1) lacks)"
    )


async def test_an_old_rejection_holds_for_an_equal_table_only(scene: Scene) -> None:
    first = await scene.published(ORDERS)
    scene.fleet.hello("a", "1")
    scene.fleet.nack("a", first, [], scene.digest)
    same = await scene.published(Scope(name="orders:read"))
    assert (await scene.waiting.served(same, 300)).rejected
    other = await scene.published(Service(service_name="payments"))
    assert not (await scene.waiting.served(other, 0)).rejected


async def test_a_quorum_lives_with_a_rejection(scene: Scene) -> None:
    for node in ("a", "b", "c"):
        scene.fleet.hello(node, "1")
    revision = await scene.published(ORDERS)
    task = scene.served(revision, quorum=Quorum(count=2))
    scene.fleet.nack("a", revision, [], scene.digest)
    assert await still_waiting(task)
    scene.fleet.ack("b", revision, scene.digest)
    scene.fleet.ack("c", revision, scene.digest)
    seen = await task
    assert seen.complete
    assert [node.node for node in seen.stragglers] == ["a"]


async def test_a_store_that_cannot_be_published_is_the_reason(scene: Scene) -> None:
    scene.fleet.hello("a", "1")
    await scene.published(ORDERS)
    revision = await scene.store.commit({}, [Put(key_of("route", "bad"), b"nonsense")])
    seen = await scene.waiting.served(revision, 0.05)
    assert not seen.complete
    assert seen.digest == ""
    assert "cannot be published: route/bad: is not JSON" in seen.problem


@pytest.mark.parametrize(
    ("text", "connected", "needed"),
    [("all", 3, 3), ("all", 0, 0), ("2", 3, 2), ("2", 1, 2), ("50%", 3, 2), ("30%", 10, 3), ("0.1%", 5, 1)],
)
def test_quorums(text: str, connected: int, needed: int) -> None:
    assert Quorum.parse(text).of(connected) == needed


@pytest.mark.parametrize("text", ["", "0", "-1", "0%", "101%", "50 %", "some", "1e3", "²", "%", "1" * 7])
def test_no_quorums(text: str) -> None:
    with pytest.raises(ValueError, match="quorum must be"):
        Quorum.parse(text)


ILL = InstanceHealth("orders", "a", InstanceStatus.UNHEALTHY, 1.0, "connection refused")
WELL = InstanceHealth("orders", "a", InstanceStatus.HEALTHY, 1.0)


async def test_routable_is_what_was_seen_of_this_registration(scene: Scene) -> None:
    revision = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", revision, scene.digest)
    # Of a registration before this one.
    scene.fleet.health("a", [WELL], revision - 1)
    task = asyncio.create_task(scene.waiting.routable("orders", "a", revision, 5))
    assert await still_waiting(task)
    scene.fleet.health("a", [ILL], revision)
    assert await still_waiting(task)
    scene.fleet.health("a", [WELL], revision)
    assert (await task).complete


@pytest.mark.parametrize(
    ("health", "at", "reason"),
    [
        ([ILL], 0, "finds it unhealthy: connection refused"),
        ([], 0, "does not know the instance"),
        ([WELL], -1, "has not reported the health of instances yet"),
    ],
)
async def test_why_an_instance_is_not_routable(
    scene: Scene, health: list[InstanceHealth], at: int, reason: str
) -> None:
    revision = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", revision, scene.digest)
    scene.fleet.health("a", health, revision + at)
    seen = await scene.waiting.routable("orders", "a", revision, 0.01)
    assert list(map(str, seen.stragglers)) == [f"a ({reason})"]


async def test_a_drain_waits_for_others_than_those_who_refuse(scene: Scene) -> None:
    first = await scene.published(ORDERS)
    for node in ("a", "b"):
        scene.fleet.hello(node, "1", first, scene.digest, {("orders", "x"): 1})
    revision = await scene.published(Service(service_name="payments"))
    task = asyncio.create_task(scene.waiting.drained("orders", "x", revision, 5))
    scene.fleet.nack("a", revision, [], scene.digest)
    scene.fleet.ack("b", revision, scene.digest)
    assert await still_waiting(task)
    scene.fleet.leaving("b", {})
    seen = await task
    assert [node.node for node in seen.stragglers] == ["a"]
    assert not seen.complete


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_control_plane_that_tells_nothing_is_named(scene: Scene) -> None:
    scene.fleet.expect("two")
    scene.fleet.hello("a", "1")
    revision = await scene.published(ORDERS)
    scene.fleet.ack("a", revision, scene.digest)
    seen = await scene.waiting.served(revision, 0)
    assert not seen.complete
    assert seen.problem.startswith("this control plane cannot follow control plane two")
    task = scene.served(revision)
    scene.fleet.receive("two", PeerState())
    assert (await task).complete


async def test_who_was_there_a_moment_ago_is_waited_for(scene: Scene) -> None:
    clock = Clock()
    scene.fleet = Fleet(clock, settle=3.0)
    scene.waiting = Waiting(scene.watcher, scene.fleet)
    revision = await scene.published(ORDERS)
    young = await scene.waiting.served(revision, 0)
    assert not young.complete
    assert "have not reconnected yet" in young.problem
    clock.now += 3
    assert (await scene.waiting.served(revision, 0)).complete

    scene.fleet.hello("a", "1", revision, scene.digest)
    scene.fleet.disconnect("a")
    clock.now += 2
    assert not (await scene.waiting.drained("orders", "x", revision, 0)).complete
    scene.fleet.hello("a", "1", revision, scene.digest, {("orders", "x"): 1})
    assert [n.reason for n in (await scene.waiting.drained("orders", "x", revision, 0)).stragglers] == [
        "1 request under way"
    ]
    scene.fleet.disconnect("a")
    clock.now += 3
    assert (await scene.waiting.drained("orders", "x", revision, 0)).complete


async def test_a_wait_ends_when_nobody_is_expected_back_any_more(scene: Scene) -> None:
    scene.fleet = Fleet(settle=0.1)
    scene.waiting = Waiting(scene.watcher, scene.fleet)
    revision = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", revision, scene.digest)
    scene.fleet.disconnect("a")
    assert (await scene.waiting.served(revision, 30)).complete


async def test_a_number_of_data_planes_needs_nobody_else(scene: Scene) -> None:
    scene.fleet = Fleet(settle=300.0)
    scene.waiting = Waiting(scene.watcher, scene.fleet)
    revision = await scene.published(ORDERS)
    scene.fleet.hello("a", "1", revision, scene.digest)
    assert (await scene.waiting.served(revision, 0, Quorum(count=1))).complete
    assert not (await scene.waiting.served(revision, 0)).complete


async def test_over_when_every_data_plane_has_said_what_it_reset(scene: Scene) -> None:
    for node in ("a", "b", "c"):
        scene.fleet.hello(node, "1")
    revision = await scene.published(ORDERS)
    task = asyncio.create_task(scene.waiting.obeyed(revision, 30.0))
    for node in ("a", "b", "c"):
        scene.fleet.ack(node, revision, scene.digest)
    assert await still_waiting(task)
    for node in ("a", "b"):
        scene.fleet.stats(node, StatsReport(resets={revision: ResetReport()}))
    assert await still_waiting(task), "c has not said"
    scene.fleet.stats("c", StatsReport(resets={revision - 1: ResetReport()}))
    assert await still_waiting(task), "it has said so of another order"
    scene.fleet.stats("c", StatsReport(resets={revision: ResetReport(("callers",))}))
    assert (await task).complete


async def test_older_data_planes_have_reset_what_they_serve(scene: Scene) -> None:
    scene.fleet.hello("a", "1", resets_unreported=True)
    revision = await scene.published(ORDERS)
    task = asyncio.create_task(scene.waiting.obeyed(revision, 30.0))
    assert await still_waiting(task)
    scene.fleet.ack("a", revision, scene.digest)
    assert (await task).complete
    scene.fleet.hello("a", "2", revision, scene.digest)
    assert not (await scene.waiting.obeyed(revision, 0.0)).complete, "it was upgraded, and will say so"


async def test_the_names_of_those_that_have_not_reset_it(scene: Scene) -> None:
    scene.fleet.hello("a", "1")
    revision = await scene.published(ORDERS)
    scene.fleet.ack("a", revision, scene.digest)
    seen = await scene.waiting.obeyed(revision, 0.0)
    assert list(map(str, seen.stragglers)) == ["a (has not reset it yet)"]
