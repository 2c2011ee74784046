"""Waiting for data planes: what counts, who is named, and that nobody waits longer than needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import InstanceHealth, InstanceStatus, NodeProblem, NodeState
from controlplane.fleet.told import Told
from controlplane.fleet.waiting import ALL, Progress, Quorum, Waiting
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


async def test_a_thousand_waiters_cost_what_changed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks at the whole fleet a few times, and not once for each report of each data plane."""
    nodes = [f"gw-{number}" for number in range(50)]
    for node in nodes:
        scene.fleet.hello(node, "1")
    revision = await scene.published(ORDERS)
    looked: Counter[str] = Counter()
    view, state = scene.fleet.dataplanes_view, scene.fleet.state

    def counted_view(published: Snapshot | None) -> tuple[NodeState, ...]:
        looked["fleet"] += 1
        return view(published)

    def counted_state(node: str) -> NodeState | None:
        looked["node"] += 1
        return state(node)

    monkeypatch.setattr(scene.fleet, "dataplanes_view", counted_view)
    monkeypatch.setattr(scene.fleet, "state", counted_state)
    tasks = [scene.served(revision, 60.0) for _ in range(1000)]
    await asyncio.sleep(0)
    for node in reversed(nodes[1:]):
        scene.fleet.ack(node, revision, scene.digest)
        scene.fleet.leaving(node, {})
        await asyncio.sleep(0)
    assert looked["fleet"] == 1000
    scene.fleet.ack(nodes[0], revision, scene.digest)
    assert all(seen.complete for seen in await asyncio.gather(*tasks))
    assert looked["fleet"] == 2000
    assert looked["node"] <= 1000 * (len(nodes) + 2)


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
        "2 more resources need what this data plane (version 1) lacks)"
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
    assert seen.problem.startswith("the data planes of control plane two are not known here")
    task = scene.served(revision)
    scene.fleet.hear("two", Told())
    assert (await task).complete


async def test_who_was_there_a_moment_ago_is_waited_for(scene: Scene) -> None:
    clock = Clock()
    scene.fleet = Fleet(clock, settle=3.0)
    scene.waiting = Waiting(scene.watcher, scene.fleet)
    revision = await scene.published(ORDERS)
    young = await scene.waiting.served(revision, 0)
    assert not young.complete
    assert "not back yet" in young.problem
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
