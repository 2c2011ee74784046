"""Several control planes on one store: each sees the data planes of all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from controlplane.commands.adapters import StoredMembership
from controlplane.commands.executor import Executor
from controlplane.fleet import summaries
from controlplane.fleet.links import LinkLost, Links
from controlplane.fleet.members import MEMBERS, ROOT, Member
from controlplane.fleet.members import SUMMARIES as PREFIX
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerState, PeerUpdate, UpdateSender
from controlplane.fleet.peers import TTL, Peers
from controlplane.fleet.reports import InstanceHealth, InstanceStatus, NodeState
from controlplane.identity import Hasher
from controlplane.store import MemoryStore, Put
from tests.support.waiting import eventually, within


class Plane:
    """A control plane as far as its fleet goes."""

    def __init__(self, store: MemoryStore, name: str, others: dict[str, Plane] | None = None) -> None:
        """With `others` it has an address under which those find it, and follows them."""
        self.store = store
        self.name = name
        self.fleet = Fleet()
        membership = StoredMembership(Executor(store, Hasher(), lambda: 0.0))
        # One without an address is as one of the version before.
        links = Links(self.fleet, self.follow, silent_for=0.3) if others is not None else None
        self.others = others if others is not None else {}
        self.others[name] = self
        self.reachable = True
        self.peers = Peers(
            store,
            membership,
            self.fleet,
            name,
            member=Member(f"{name}:1") if others is not None else None,
            links=links,
            soon=0.01,
            late=0.05,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self.peers.run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def follow(self, name: str, member: Member) -> AsyncGenerator[PeerUpdate, None]:
        """The stream, without a wire."""
        other = self.others[name]
        assert member.address == f"{name}:1"
        sender = UpdateSender(other.fleet.verdicts, other.fleet.circuits)
        while other.reachable:
            for part in sender.updates(other.fleet.peer_state()):
                yield part
            await asyncio.sleep(0.01)
        raise LinkLost("cut")

    def seen(self) -> dict[str, tuple[bool, int]]:
        return {name: (node.connected, node.applied_revision) for name, node in self.fleet.nodes.items()}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@contextlib.asynccontextmanager
async def running(*planes: Plane) -> AsyncIterator[None]:
    for plane in planes:
        plane.start()
    try:
        yield
    finally:
        for plane in planes:
            await plane.stop()


async def sees(plane: Plane, expected: dict[str, tuple[bool, int]]) -> None:
    await eventually(lambda: plane.seen() == expected)


async def test_each_sees_the_data_planes_of_all(store: MemoryStore) -> None:
    one, two, three = (Plane(store, name) for name in ("one", "two", "three"))
    one.fleet.hello("gw-1", "1", 5, "abc")
    async with running(one, two, three):
        two.fleet.hello("gw-2", "1", 4, "def")
        for plane in (one, two, three):
            await sees(plane, {"gw-1": (True, 5), "gw-2": (True, 4)})
        two.fleet.ack("gw-2", 6, "xyz")
        one.fleet.disconnect("gw-1")
        for plane in (one, two, three):
            await sees(plane, {"gw-1": (False, 5), "gw-2": (True, 6)})


async def test_who_waits_is_woken(store: MemoryStore) -> None:
    one, two = Plane(store, "one"), Plane(store, "two")
    async with running(one, two):
        two.fleet.hello("gw-2", "1", 4, "def")
        await eventually(lambda: "gw-2" in one.seen())
        wake = asyncio.Event()
        with one.fleet.signals.moved.wakes(wake):
            two.fleet.ack("gw-2", 6, "xyz")
            await within(wake.wait(), 30)


async def test_a_data_plane_that_moved_is_where_it_said_hello_last(store: MemoryStore) -> None:
    one, two = Plane(store, "one"), Plane(store, "two")
    async with running(one, two):
        one.fleet.hello("gw", "1", 4, "def")
        one.fleet.health("gw", [InstanceHealth("orders", "a", InstanceStatus.HEALTHY)])
        await eventually(lambda: two.seen() == {"gw": (True, 4)})
        # The first has not noticed yet that the connection is gone.
        two.fleet.hello("gw", "1", 5, "xyz")
        await eventually(lambda: one.seen() == two.seen() == {"gw": (True, 5)})
        # What it reported goes along until it reports again.
        assert two.fleet.views.vote("gw", ("orders", "a")) == (InstanceStatus.HEALTHY, "")
        one.fleet.disconnect("gw")
        two.fleet.ack("gw", 6, "uvw")
        await eventually(lambda: one.seen() == two.seen() == {"gw": (True, 6)})


async def test_a_control_plane_that_ends_takes_its_part_back(store: MemoryStore) -> None:
    one, two = Plane(store, "one"), Plane(store, "two")
    async with running(one):
        async with running(two):
            two.fleet.hello("gw-2", "1", 4, "def")
            await eventually(lambda: one.seen() == {"gw-2": (True, 4)})
        await eventually(lambda: one.seen() == {"gw-2": (False, 4)})
        assert one.peers.others == frozenset()


async def test_one_that_died_is_forgotten_with_its_lease(store: MemoryStore) -> None:
    one = Plane(store, "one")
    lease = await store.grant(TTL)
    async with running(one):
        await store.commit({}, [Put(PREFIX + "dead-1", b"", lease)])
        await eventually(lambda: one.peers.others == {"dead-1"})
        store.advance(TTL + 1)
        await eventually(lambda: not one.peers.others)


async def test_who_is_alone_writes_but_once(store: MemoryStore) -> None:
    one = Plane(store, "one")
    async with running(one):
        await eventually(lambda: store.revision == 2)
        for revision in range(50):
            one.fleet.hello("gw", "1", revision, "")
            await asyncio.sleep(0.005)
        assert store.revision == 2


async def test_many_changes_make_few_summaries(store: MemoryStore) -> None:
    one, two = Plane(store, "one"), Plane(store, "two")
    one.peers._soon = 0.1
    async with running(one, two):
        await eventually(lambda: one.peers.others and two.peers.others)
        before = store.revision
        for revision in range(100):
            one.fleet.hello("gw", "1", revision, "")
            await asyncio.sleep(0)
        await eventually(lambda: two.seen() == {"gw": (True, 99)})
        assert store.revision - before < 20


async def test_nonsense_of_others_harms_nobody(store: MemoryStore) -> None:
    one, two = Plane(store, "one"), Plane(store, "two")
    await store.commit({}, [Put(PREFIX + "odd", b"nonsense")])
    async with running(one, two):
        one.fleet.hello("gw-1", "1", 5, "abc")
        await eventually(lambda: two.seen() == {"gw-1": (True, 5)})
        assert "odd" not in two.peers.others


async def test_it_is_there_again_after_an_outage(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.fleet.peers.PAUSE", 0.02)
    monkeypatch.setattr("controlplane.fleet.peers.RENEW", 0.02)
    one, two = Plane(store, "one"), Plane(store, "two")
    async with running(one, two):
        one.fleet.hello("gw-1", "1", 5, "abc")
        await eventually(lambda: "gw-1" in two.seen())
        store.available = False
        store.advance(TTL + 1)
        one.fleet.ack("gw-1", 6, "def")
        store.available = True
        await eventually(lambda: two.seen() == {"gw-1": (True, 6)})
        assert two.fleet.nodes["gw-1"].connected


async def test_one_that_lost_its_lease_sends_all_its_data_planes_at_once(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.fleet.peers.RENEW", 0.02)
    one, two = Plane(store, "one"), Plane(store, "two")
    async with running(one, two):
        one.fleet.hello("gw-1", "1", 5, "abc")
        await eventually(lambda: two.seen() == {"gw-1": (True, 5)})
        # From here on nothing happens that it would have to tell.
        one.peers._late = 300.0
        heard: list[list[str]] = []
        receive = two.fleet.receive

        def listen(controlplane: str, told: PeerState) -> None:
            heard.append([node for node in told.nodes if controlplane == one.peers.name])
            receive(controlplane, told)

        monkeypatch.setattr(two.fleet, "receive", listen)
        await store.revoke(one.peers._lease)
        await eventually(lambda: heard)
        assert heard[0] == ["gw-1"]


# By stream


async def summary(store: MemoryStore, plane: Plane) -> bytes | None:
    entry = await store.get(PREFIX + plane.name)
    return entry.value if entry else None


async def summary_is_empty(store: MemoryStore, plane: Plane) -> bool:
    return await summary(store, plane) == b""


async def test_those_with_an_address_follow_each_other_and_leave_no_summary(store: MemoryStore) -> None:
    by_name: dict[str, Plane] = {}
    one, two = Plane(store, "one", by_name), Plane(store, "two", by_name)
    one.fleet.hello("gw-1", "1", 5, "abc")
    async with running(one):
        async with running(two):
            two.fleet.hello("gw-2", "1", 4, "def")
            for plane in (one, two):
                await sees(plane, {"gw-1": (True, 5), "gw-2": (True, 4)})
            before = store.revision
            for revision in range(50):
                two.fleet.ack("gw-2", revision, "xyz")
            await sees(one, {"gw-1": (True, 5), "gw-2": (True, 49)})
            assert store.revision == before, "nothing of it goes through the store"
            assert await summary(store, one) == await summary(store, two) == b""
        await sees(one, {"gw-1": (True, 5), "gw-2": (False, 49)})
        assert not one.peers.others
    assert not (await store.list(ROOT)).entries


async def test_beside_one_of_the_version_before_all_leave_summaries_until_it_is_gone(
    store: MemoryStore,
) -> None:
    by_name: dict[str, Plane] = {}
    one, two, old = Plane(store, "one", by_name), Plane(store, "two", by_name), Plane(store, "old")
    for number, plane in enumerate((one, two, old)):
        plane.fleet.hello(f"gw-{number}", "1", number, "abc")
    expected = {f"gw-{number}": (True, number) for number in range(3)}
    async with running(one, two):
        async with running(old):
            for plane in (one, two, old):
                await sees(plane, expected)
            told = await summary(store, one)
            assert told and set(summaries.decode(told).nodes) == {"gw-0"}
        await sees(one, expected | {"gw-2": (False, 2)})
        await eventually(lambda: summary_is_empty(store, one))


async def test_one_that_cannot_be_reached_is_lost_after_some_silence_and_found_again(
    store: MemoryStore,
) -> None:
    by_name: dict[str, Plane] = {}
    one, two = Plane(store, "one", by_name), Plane(store, "two", by_name)
    async with running(one, two):
        two.fleet.hello("gw-2", "1", 4, "def")
        await sees(one, {"gw-2": (True, 4)})
        two.reachable = False
        await sees(one, {"gw-2": (False, 4)})
        assert one.peers.others == {"two"}, "its lease says that it is there"
        two.fleet.ack("gw-2", 6, "xyz")
        two.reachable = True
        await sees(one, {"gw-2": (True, 6)})


async def test_one_that_cannot_be_followed_leaves_nothing_settled(store: MemoryStore) -> None:
    by_name: dict[str, Plane] = {}
    one, two = Plane(store, "one", by_name), Plane(store, "two", by_name)
    two.reachable = False
    async with running(one):
        await eventually(lambda: not one.fleet.unsettled or one.fleet.alone)
        async with running(two):
            two.fleet.hello("gw-2", "1", 4, "def")
            await eventually(lambda: one.fleet.unheard == ["two"])
            assert one.fleet.unsettled and not one.fleet.alone
            two.reachable = True
            await sees(one, {"gw-2": (True, 4)})
            assert not one.fleet.unheard
            two.reachable = False
            await sees(one, {"gw-2": (False, 4)})
            assert one.fleet.unheard == ["two"], "its lease says that it is there"
        await eventually(lambda: not one.peers.others)
        assert not one.fleet.unheard


async def test_a_cut_that_is_soon_mended_shows_nowhere(store: MemoryStore) -> None:
    by_name: dict[str, Plane] = {}
    one, two = Plane(store, "one", by_name), Plane(store, "two", by_name)
    async with running(one, two):
        two.fleet.hello("gw-2", "1", 4, "def")
        await sees(one, {"gw-2": (True, 4)})
        lost: list[str] = []
        one.fleet.lose = lost.append  # type: ignore[method-assign, assignment]
        two.reachable = False
        await asyncio.sleep(0)
        two.reachable = True
        two.fleet.ack("gw-2", 6, "xyz")
        await sees(one, {"gw-2": (True, 6)})
        assert not lost


async def test_a_member_that_cannot_be_read_harms_nobody(store: MemoryStore) -> None:
    by_name: dict[str, Plane] = {}
    one, two = Plane(store, "one", by_name), Plane(store, "two", by_name)
    await store.commit({}, [Put(MEMBERS + "odd", b"[]")])
    async with running(one, two):
        two.fleet.hello("gw-2", "1", 4, "def")
        await sees(one, {"gw-2": (True, 4)})
        assert one.peers.others == {"two"}


async def test_one_that_moved_to_where_it_cannot_be_reached_is_lost_after_some_silence() -> None:
    async def connect(name: str, member: Member) -> AsyncGenerator[PeerUpdate, None]:
        if member.address == "two:1":
            yield PeerUpdate(nodes=[NodeState("gw-2", "1", since=1.0)], complete=True)
            await asyncio.Event().wait()
        raise LinkLost("no answer")

    fleet = Fleet()
    links = Links(fleet, connect, silent_for=0.2)
    links.follow("two", Member("two:1"))
    await eventually(lambda: "gw-2" in fleet.nodes)
    links.follow("two", Member("elsewhere:1"))
    await eventually(lambda: not fleet.nodes["gw-2"].connected)
    assert fleet.unheard == ["two"]
    await links.close()
