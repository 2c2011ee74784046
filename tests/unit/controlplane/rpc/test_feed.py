"""The feed of watchers: what changed is made anew, and nothing else, however often data planes report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import InstanceHealth, InstanceStatus, StatsReport
from controlplane.model.resources import Instance, Resource, Route, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import encode, key_of
from controlplane.rpc import feed as module
from controlplane.rpc.feed import Feed
from controlplane.rpc.interests import Interest, Name
from controlplane.store import Delete, MemoryStore, Put
from headgate_api.v1 import registry_pb2 as pb
from tests.support.waiting import eventually

EVERYTHING = Interest.of(pb.WatchRequest())


class Scene:
    """Two services with an instance each, a data plane, and a feed that counts the views that it makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "GAP", 0.0)
        self.store = MemoryStore()
        self.watcher, self.fleet = Watcher(self.store), Fleet()
        self.feed = Feed(self.watcher, self.fleet)
        self.made: list[tuple[str, str]] = []
        make = self.feed._make

        def counted(name: Name, snapshot: Snapshot) -> None:
            self.made.append(name)
            make(name, snapshot)

        monkeypatch.setattr(self.feed, "_make", counted)

    async def put(self, *resources: Resource) -> int:
        puts = [Put(key_of(one.KIND, one.name), encode(one)) for one in resources]
        return await self.store.commit({}, puts)

    def health(self, name: str, status: InstanceStatus, at: float) -> None:
        self.fleet.health("gw-1", [InstanceHealth(name, "a", status, at)], 1, changes=True)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    scene = Scene(monkeypatch)
    following = asyncio.create_task(scene.watcher.run())
    services = [Service(service_name=name) for name in ("orders", "payments")]
    instances = [
        Instance(service_name=one.service_name, instance_id="a", host="10.0.0.1", port=1) for one in services
    ]
    scene.fleet.hello("gw-1", "1")
    revision = await scene.put(*services, *instances)
    with scene.feed.watched(EVERYTHING):
        await eventually(lambda: scene.feed.ready(EVERYTHING) and scene.feed.revision >= revision)
        scene.health("orders", InstanceStatus.HEALTHY, 1.0)
        scene.health("payments", InstanceStatus.HEALTHY, 1.0)
        await eventually(lambda: len(healthy(scene)) == 2)
        scene.made.clear()
        yield scene
    following.cancel()
    await asyncio.wait([following])


def gone(kind: str, name: str) -> Delete:
    return Delete(key_of(kind, name))


def healthy(scene: Scene, interest: Interest = EVERYTHING) -> list[str]:
    message = scene.feed.message(-1, interest, changes=False)
    assert message is not None
    return [
        one.service.service_name for one in message.services if one.instances and one.instances[0].status == 2
    ]


async def test_reports_that_change_nothing_make_nothing(scene: Scene) -> None:
    number = scene.feed.number
    for second in range(100):
        scene.health("orders", InstanceStatus.HEALTHY, 1.0)
        scene.fleet.stats("gw-1", StatsReport(float(second), second), changes=True)
        await asyncio.sleep(0)
    scene.health("payments", InstanceStatus.UNHEALTHY, 2.0)
    await eventually(lambda: scene.feed.number == number + 1)
    assert scene.made == [("service", "payments")]


async def test_a_change_is_made_once_for_all_watchers(scene: Scene) -> None:
    seen = scene.feed.number
    with scene.feed.watched(EVERYTHING), scene.feed.watched(EVERYTHING):
        await scene.put(Service(service_name="orders", check_path="/other"))
        await eventually(lambda: scene.feed.number > seen)
        assert sorted(scene.made) == [("circuit", "orders"), ("service", "orders")]
        message = scene.feed.message(seen, EVERYTHING, changes=True)
    assert message is not None and message.changes
    assert [one.service.check_path for one in message.services] == ["/other"]


async def test_the_time_of_a_probe_is_no_news(scene: Scene) -> None:
    number, news = scene.feed.number, scene.feed.news
    scene.health("orders", InstanceStatus.HEALTHY, 5.0)
    await eventually(lambda: scene.feed.number == number + 1)
    assert scene.feed.news == news
    message = scene.feed.message(number, EVERYTHING, changes=True)
    assert message is not None and message.services[0].instances[0].last_check == 5.0


async def test_a_watcher_that_missed_too_much_is_sent_everything(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMOVED", 1)
    seen = scene.feed.number
    await scene.store.commit({}, [gone("service", "orders"), gone("service", "payments")])
    await eventually(lambda: scene.feed._forgotten > seen)
    message = scene.feed.message(seen, EVERYTHING, changes=True)
    assert message is not None and not message.changes and not message.services


async def test_after_a_pause_without_watchers_it_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    following = asyncio.create_task(scene.watcher.run())
    await eventually(lambda: scene.watcher.current)
    for number in range(3):
        revision = await scene.put(Service(service_name=f"s{number}"))
        await eventually(lambda: scene.watcher.current and scene.watcher.current.revision >= revision)  # noqa: B023
        with scene.feed.watched(EVERYTHING):
            await eventually(lambda: scene.feed.ready(EVERYTHING))
            message = scene.feed.message(-1, EVERYTHING, changes=False)
            assert message is not None and len(message.services) == number + 1
        assert not scene.feed.ready(EVERYTHING) and not scene.fleet.followers
    following.cancel()
    await asyncio.wait([following])


ORDERS = Interest.of(pb.WatchRequest(services=["orders"], without_routes=True))
CIRCUITS = Interest.of(pb.WatchRequest(without_services=True, without_routes=True))


async def test_only_watched_views_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    following = asyncio.create_task(scene.watcher.run())
    scene.fleet.hello("gw-1", "1")
    services = [Service(service_name=f"s{number}") for number in range(50)]
    route = Route(name="r", prefix="/r", service_name="orders")
    revision = await scene.put(*services, Service(service_name="orders"), route)
    await eventually(lambda: scene.watcher.current and scene.watcher.current.revision >= revision)
    with scene.feed.watched(ORDERS):
        await eventually(lambda: scene.feed.ready(ORDERS))
        # A data plane that comes or goes may change everything.
        scene.fleet.hello("gw-2", "1")
        scene.health("s1", InstanceStatus.HEALTHY, 1.0)
        scene.health("orders", InstanceStatus.HEALTHY, 1.0)
        await scene.put(Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=1))
        await eventually(lambda: healthy(scene, ORDERS) == ["orders"])
        assert set(scene.made) == {("service", "orders"), ("circuit", "orders")}
        with scene.feed.watched(CIRCUITS):
            await eventually(lambda: scene.feed.ready(CIRCUITS))
            message = scene.feed.message(-1, CIRCUITS, changes=True)
            assert message is not None and len(message.circuits) == 51
            assert not message.services and not message.routes
        scene.made.clear()
        seen = scene.feed.number
        scene.fleet.disconnect("gw-2")
        scene.health("orders", InstanceStatus.UNHEALTHY, 2.0)
        await eventually(lambda: scene.feed.number > seen)
        assert set(scene.made) == {("service", "orders"), ("circuit", "orders")}
        scene.made.clear()
    with scene.feed.watched(CIRCUITS):
        await eventually(lambda: scene.feed.ready(CIRCUITS))
        assert {kind for kind, _ in scene.made} == {"circuit"}
    following.cancel()
    await asyncio.wait([following])


async def test_one_who_comes_later_is_shown_what_is_there_and_was_not_watched(scene: Scene) -> None:
    with scene.feed.watched(ORDERS):
        await eventually(lambda: scene.feed.ready(ORDERS))
        message = scene.feed.message(-1, ORDERS, changes=True)
        assert message is not None
        assert [one.service.service_name for one in message.services] == ["orders"]
        seen = scene.feed.number
        await scene.store.commit({}, [gone("service", "payments")])
        await eventually(lambda: scene.feed.number > seen)
        assert scene.feed.message(seen, ORDERS, changes=True) is None
        seen = scene.feed.number
        await scene.store.commit({}, [gone("service", "orders")])
        await eventually(lambda: scene.feed.number > seen)
        message = scene.feed.message(seen, ORDERS, changes=True)
        assert message is not None
        assert sorted((one.kind, one.name) for one in message.removed) == [
            ("circuit", "orders"),
            ("service", "orders"),
        ]
