"""The elected control plane's work, against a store in memory: answers become instances that data planes get."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import pytest

from controlplane.commands.executor import Executor
from controlplane.commands.plan import Done, Planner, Q, R
from controlplane.commands.plans.discovery import Discover
from controlplane.discovery import discoverer as module
from controlplane.discovery import intervals
from controlplane.discovery.answer import Answer, unanswered
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.discovery.discoverer import Discoverer, Tell
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.model.discovered import Discovered, Found, State
from controlplane.model.discovery import Discovery
from controlplane.model.resources import Instance
from controlplane.model.stored import key_of
from controlplane.store import Delete, Put
from tests.support.control_plane import ControlPlane
from tests.support.waiting import eventually

KEY = key_of("discovered", "orders")
SERVICE = {"service_name": "orders", "discovery": {"dns": {"name": "orders.example", "port": 80}}}


class Scripted:
    """Sources that answer as the test says."""

    def __init__(self) -> None:
        self.wanted: dict[str, Discovery] = {}
        self.takes: Tell = lambda service, source, answer: None

    def follow(self, wanted: Mapping[str, Discovery], tell: Tell) -> None:
        self.wanted, self.takes = dict(wanted), tell

    def tell(self, service: str, answer: Answer) -> None:
        """The source that is wanted now answers; without one, nothing does."""
        if service in self.wanted:
            self.takes(service, self.wanted[service], answer)

    async def stop(self) -> None:
        self.wanted = {}


def found(number: int, *, draining: bool = False) -> Found:
    return Found(instance_id=f"i{number}", host=f"10.0.0.{number}", port=80, draining=draining)


class Lagging:
    """A watcher that may lag behind the store."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._held: tuple[int, Discovered | None] | None = None
        self.changed = watcher.changed

    def hold(self) -> None:
        """Stay at what is known now."""
        self._held = self.revision, self.discovered("orders")

    @property
    def frozen(self) -> str:
        return self._watcher.frozen

    @property
    def revision(self) -> int:
        return self._held[0] if self._held else self._watcher.revision

    @property
    def discoveries(self) -> Mapping[str, Discovery]:
        return self._watcher.discoveries

    @property
    def remembered(self) -> frozenset[str]:
        return self._watcher.remembered

    def discovered(self, service_name: str) -> Discovered | None:
        return self._held[1] if self._held else self._watcher.discovered(service_name)


class Bed:
    def __init__(self, plane: ControlPlane, executes: type[Executor]) -> None:
        self.plane = plane
        self.sources = Scripted()
        self.counts = DiscoveryCounts()
        self.now = 1000.0
        executor = executes(plane.store, Hasher(), lambda: self.now)
        self.known = Lagging(plane.watcher)
        self.discoverer = Discoverer(self.known, executor, self.sources, self.counts, clock=lambda: self.now)

    async def service(self, **fields: object) -> None:
        revision = (await self.plane.commands.put("service", {**SERVICE, **fields}, author="test")).revision
        await self.plane.published(revision)
        await eventually(lambda: ("orders" in self.sources.wanted) == ("discovery" not in fields))

    @property
    def served(self) -> dict[str, tuple[int, bool]]:
        """Revision of each instance as data planes get it, and whether it drains."""
        resources = self.plane.current.resources
        found = {}
        for (kind, name), stamped in resources.items():
            if kind == "instance" and isinstance(stamped.resource, Instance):
                found[name] = stamped.revision, stamped.resource.draining
        return found

    async def serves(self, *names: str) -> None:
        await eventually(lambda: set(self.served) == set(names))

    @property
    def state(self) -> State | None:
        return self.plane.watcher.discovery_state("orders")

    @property
    def problem(self) -> str | None:
        return self.state.problem if self.state is not None else None


@contextlib.asynccontextmanager
async def running(executes: type[Executor] = Executor) -> AsyncIterator[Bed]:
    async with ControlPlane() as plane:
        await eventually(plane.watcher.caught_up.is_set)
        bed = Bed(plane, executes)
        task = asyncio.create_task(bed.discoverer.run())
        try:
            yield bed
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_an_answer_becomes_instances() -> None:
    async with running() as bed:
        await bed.service()
        assert bed.state == State("DNS name orders.example (A)", 0, "no answer yet", 0.0)
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        assert bed.state == State("DNS name orders.example (A)", 2, "", 0.0)
        assert bed.counts.leads and bed.counts.written == 1


async def test_only_what_differs_gets_a_new_revision() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        before = bed.served
        bed.sources.tell("orders", Answer((found(1), found(2, draining=True), found(3))))
        await bed.serves("orders/i1", "orders/i2", "orders/i3")
        after = bed.served
        assert after["orders/i1"] == before["orders/i1"]
        assert after["orders/i2"][0] > before["orders/i2"][0] and after["orders/i2"][1]


async def test_the_same_answer_writes_nothing() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        bed.sources.tell("orders", Answer((found(2), found(1))))
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        assert bed.counts.written == 2


async def test_a_silent_source_leaves_the_last_instances() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        bed.sources.tell("orders", unanswered("no response"))
        await eventually(lambda: bed.problem == "no response")
        assert set(bed.served) == {"orders/i1"}
        bed.now = 2000.0
        bed.sources.tell("orders", unanswered("refused"))
        await eventually(lambda: bed.problem == "refused")
        assert bed.state == State("DNS name orders.example (A)", 1, "refused", 1000.0)
        bed.sources.tell("orders", Answer((found(1),)))
        await eventually(lambda: bed.problem == "")
        assert bed.state == State("DNS name orders.example (A)", 1, "", 0.0)


async def test_without_discovery_the_instances_go_and_are_forgotten() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        await bed.service(discovery=None)
        await bed.serves()
        await eventually(lambda: not bed.plane.watcher.remembered)
        await bed.service()
        assert not bed.served


async def test_a_deleted_service_is_forgotten() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        await bed.plane.commands.delete("service", "orders", author="test")
        await eventually(lambda: not bed.plane.watcher.remembered)
        await bed.serves()


async def test_a_listed_instance_comes_before_one_that_was_found() -> None:
    async with running() as bed:
        await bed.service(instances=[{"instance_id": "i1", "host": "10.9.9.9", "port": 80}])
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        listed = bed.plane.current.resources["instance", "orders/i1"].resource
        assert isinstance(listed, Instance) and listed.host == "10.9.9.9"
        await bed.service(instances=[])
        await bed.serves("orders/i1", "orders/i2")
        shown = bed.plane.current.resources["instance", "orders/i1"].resource
        assert isinstance(shown, Instance) and shown.host == "10.0.0.1"


async def test_a_damaged_entry_is_written_anew() -> None:
    async with running() as bed:
        await bed.service()
        await bed.plane.store.commit({}, [Put(KEY, b"nonsense")])
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")


async def test_a_store_in_doubt_is_not_written_to() -> None:
    async with running() as bed:
        await bed.service()
        bed.plane.watcher.frozen = "the store was replaced"
        bed.sources.tell("orders", Answer((found(1),)))
        # The next publication finds the store good again, and wakes the discoverer.
        await bed.service(description="another")
        await bed.serves("orders/i1")
        assert bed.counts.written == 1


@pytest.mark.parametrize("change", [Delete(KEY), Put(KEY, b"nonsense")])
async def test_an_entry_that_others_delete_or_damage_is_written_again(change: Delete | Put) -> None:
    """A source repeats nothing: after an etcd restore, for instance, the addresses would be those of the backup."""
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        await bed.plane.store.commit({}, [change])
        await eventually(lambda: bed.counts.written == 2)
        await bed.serves("orders/i1")


async def test_an_answer_of_the_former_source_is_not_taken_for_the_next_one() -> None:
    async with running() as bed:
        await bed.service()
        # Nothing is written until the next publication, which has the other source.
        bed.plane.watcher.frozen = "the store was replaced"
        bed.sources.tell("orders", Answer((found(1),)))
        other = {**SERVICE, "discovery": {"dns": {"name": "other.example", "port": 80}}}
        await bed.plane.commands.put("service", other, author="test")
        await eventually(lambda: bed.sources.wanted["orders"].source == "DNS name other.example (A)")
        bed.sources.tell("orders", unanswered("no response"))
        await eventually(lambda: bed.problem == "no response")
        assert not bed.served


async def test_an_answer_that_returns_before_the_watcher_has_seen_the_one_between() -> None:
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        bed.known.hold()
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")


async def test_a_store_that_does_not_answer_for_a_moment_costs_no_answer(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    caplog.set_level(logging.DEBUG, module.__name__)
    async with running() as bed:
        await bed.service()
        bed.plane.store.available = False
        bed.sources.tell("orders", Answer((found(1),)))
        await eventually(lambda: "discovery is not written" in caplog.messages)
        bed.plane.store.available = True
        await bed.serves("orders/i1")


async def test_a_bug_that_an_answer_triggers_does_not_end_discovery(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> NoReturn:
        raise RuntimeError("a bug")

    async with running() as bed:
        await bed.service()
        with monkeypatch.context() as patched:
            patched.setattr(module, "discover", bug)
            bed.sources.tell("orders", Answer((found(1),)))
            await eventually(lambda: "an answer of discovery cannot be written" in caplog.messages)
        bed.sources.tell("orders", Answer((found(2),)))
        await bed.serves("orders/i2")


async def test_a_problem_that_no_entry_can_hold_is_cut_and_cleaned() -> None:
    """A lone surrogate, as JSON of an API server may have it."""
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", unanswered("\ud800" + "x" * 1000))
        await eventually(lambda: bed.problem == "?" + "x" * 299)


async def test_a_service_with_many_instances_is_written_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PER_INSTANCE", 0.3)
    async with running() as bed:
        await bed.service()
        began = asyncio.get_running_loop().time()
        bed.sources.tell("orders", Answer((found(1), found(2))))
        await bed.serves("orders/i1", "orders/i2")
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        assert asyncio.get_running_loop().time() >= began + 0.6


async def test_a_former_source_that_answers_while_it_is_stopped_is_not_heard() -> None:
    async with running() as bed:
        await bed.service()
        former = bed.sources.wanted["orders"]
        other = {**SERVICE, "discovery": {"dns": {"name": "other.example", "port": 80}}}
        await bed.plane.commands.put("service", other, author="test")
        await eventually(lambda: bed.sources.wanted["orders"] != former)
        bed.sources.takes("orders", former, Answer((found(1),)))
        bed.sources.tell("orders", Answer((found(2),)))
        await bed.serves("orders/i2")
        bed.sources.takes("orders", former, Answer((found(1),)))
        bed.sources.tell("orders", Answer((found(2), found(3))))
        await bed.serves("orders/i2", "orders/i3")
        assert bed.counts.written == 2


async def test_silent_sources_do_not_hold_up_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCES", 2)
    async with running() as bed:
        names = [f"a{number}" for number in range(5)]
        for name in names:
            await bed.plane.commands.put("service", {**SERVICE, "service_name": name}, author="test")
        await bed.service()
        # Nothing is written until the next publication: so all of it is in one round.
        bed.plane.watcher.frozen = "the store was replaced"
        for name in names:
            bed.sources.tell(name, unanswered("no response"))
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.service(description="another")
        await eventually(lambda: bed.counts.written == 6)
        entries = (await bed.plane.store.list(KEY.removesuffix("orders"))).entries
        first = min(entries, key=lambda entry: entry.revision)
        assert first.key == KEY and len(entries) == 6


async def test_a_service_that_rests_costs_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PER_INSTANCE", 3600)
    async with running() as bed:
        await bed.service()
        bed.sources.tell("orders", Answer((found(1),)))
        await bed.serves("orders/i1")
        timers, real = list[asyncio.TimerHandle](), asyncio.get_running_loop().call_later

        def noted(delay: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
            made = real(delay, *args, **options)
            if delay > 1000:
                timers.append(made)
            return made

        async def tell(number: int) -> None:
            known = len(timers)
            bed.sources.tell("orders", Answer((found(number),)))
            await eventually(lambda: len(timers) > known)

        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", noted)
        for number in range(2, 5):
            await tell(number)
        assert sum(not each.cancelled() for each in timers) == 1


async def test_several_services_are_written_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is some round trips to the store: one after the other, 500 took half a minute on a busy machine."""
    names, begun, all_begun = [f"a{number}" for number in range(5)], set[str](), asyncio.Event()

    class Slow(Executor):
        async def run(self, planner: Planner[Q, R], request: Q) -> Done[R]:
            if isinstance(request, Discover):
                begun.add(request.service_name)
                if len(begun) == len(names):
                    all_begun.set()
                await all_begun.wait()
            return await super().run(planner, request)

    async with running(Slow) as bed:
        for name in names:
            await bed.plane.commands.put("service", {**SERVICE, "service_name": name}, author="test")
        await eventually(lambda: set(bed.sources.wanted) == set(names))
        for name in names:
            bed.sources.tell(name, Answer((found(1),)))
        await bed.serves(*(f"{name}/i1" for name in names))
