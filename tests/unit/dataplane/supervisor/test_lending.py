"""The supervisor as the owner of what its workers share, and as the way to the owners of the fleet's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from dataplane.channel import Kind
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from dataplane.supervisor import lending
from dataplane.supervisor.lending import MOST_ACCOUNTS, Lending
from headgate_api.leases import codec
from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import Limit as Terms
from headgate_api.leases.shares import Row
from headgate_api.leases.successor import Share
from headgate_api.v1 import limits_pb2 as pb

SHARED = Limit("shared", 10.0, 100, LimitKey.SUBJECT)
FLEET = Limit("fleet", 10.0, 100, LimitKey.SUBJECT, mode=LimitMode.FLEET)


@dataclass
class Worker:
    name: str
    frames: list[tuple[Kind, bytes]] = field(default_factory=list)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self.frames.append((kind, payload))

    def answers(self) -> list[pb.LimitAnswer]:
        found = [one for kind, data in self.frames if kind is Kind.GRANTS for one in _answers(data)]
        self.frames.clear()
        return found


def _answers(data: bytes) -> list[pb.LimitAnswer]:
    return list(pb.LimitAnswers.FromString(data).answers)


@dataclass
class Disk:
    """The record of shares."""

    rows: list[Row] = field(default_factory=list)
    run: str = "former"

    def take_over(self, run: str, now: float, workers: int) -> tuple[str, list[Row]]:
        return (self.run if self.rows else run), self.rows

    def write(self, run: str, rows: list[Row]) -> bool:
        self.run, self.rows = run, rows
        return True

    def clear(self) -> bool:
        self.rows = []
        return True


class World:
    def __init__(self, *limits: Limit, default: Limit | None = None, disk: Disk | None = None) -> None:
        self.now = 100.0
        self.workers = [Worker("0.1"), Worker("1.2")]
        self.limits: Mapping[str, Limit] = {limit.name: limit for limit in limits}
        self.sent: list[pb.LimitAsks] = []
        self.connected = True
        self.lending = Lending(
            lambda: self.workers, 2, self, lambda: self.limits, default, lambda: self.now, disk
        )

    def ask_limits(self, asks: pb.LimitAsks) -> bool:
        if self.connected:
            self.sent.append(asks)
        return self.connected

    def ask(self, worker: int, kind: Kind, holder: Holder, limit: str, by: str = "subject") -> None:
        self.now += 0.6
        ask = holder.ask(self.now)
        assert ask is not None
        message = pb.LimitAsks(asks=[codec.ask_message(limit, by, ask)])
        self.lending.take(self.workers[worker], kind, message.SerializeToString())


def test_workers_are_answered_for_what_they_share() -> None:
    world, holders = World(SHARED), [Holder(Terms(10.0, 100)) for _ in range(2)]
    for worker, holder in enumerate(holders):
        world.ask(worker, Kind.NODE_ASKS, holder, "shared")
        (answer,) = world.workers[worker].answers()
        holder.answer(codec.read_answer(answer), world.now)
    assert [holder.starter for holder in holders] == [25, 16]
    assert not world.sent


def test_the_limit_of_the_settings_is_shared_too() -> None:
    world = World(default=SHARED)
    world.ask(0, Kind.NODE_ASKS, Holder(Terms(10.0, 100)), "shared")
    assert world.workers[0].answers()[0].starter == 25


def test_what_is_known_otherwise_or_not_at_all_is_refused() -> None:
    world, holder = World(SHARED, FLEET), Holder(Terms(10.0, 100))
    for limit, by in (("shared", "address/64"), ("unknown", "subject"), ("fleet", "subject")):
        world.ask(0, Kind.NODE_ASKS, holder, limit, by)
        assert world.workers[0].answers()[0].epoch == 0
        holder.lost()


def test_a_worker_that_has_ended_leaves_its_starter_to_others() -> None:
    world = World(SHARED)
    holders = [Holder(Terms(10.0, 100)) for _ in range(3)]
    for worker in range(2):
        world.ask(worker, Kind.NODE_ASKS, holders[worker], "shared")
    roll = world.lending._owners["shared"][1].roll
    assert set(roll.members) == {"0.1", "1.2"}
    world.lending.ended("0.1")
    assert set(roll.members) == {"1.2"}


def test_a_changed_limit_keeps_its_books_unless_it_counts_by_something_else() -> None:
    world, holder = World(SHARED), Holder(Terms(10.0, 100))
    world.ask(0, Kind.NODE_ASKS, holder, "shared")
    owner = world.lending._owners["shared"][1]
    world.limits = {"shared": Limit("shared", 5.0, 60, LimitKey.SUBJECT)}
    holder.lost()
    world.ask(0, Kind.NODE_ASKS, holder, "shared")
    assert world.lending._owners["shared"][1] is owner
    assert owner.roll.limit == Terms(5.0, 60)
    world.limits = {"shared": Limit("shared", 5.0, 60, LimitKey.ADDRESS)}
    holder.lost()
    world.ask(0, Kind.NODE_ASKS, holder, "shared", "address/64")
    assert world.lending._owners["shared"][1] is not owner


def test_the_keys_of_all_limits_together_are_bounded() -> None:
    limits = [Limit(f"{number}", 10.0, 100, LimitKey.SUBJECT) for number in range(4)]
    world = World(*limits)
    for limit in limits:
        world.ask(0, Kind.NODE_ASKS, Holder(Terms(10.0, 100)), limit.name)
    owners = [owner for _, owner in world.lending._owners.values()]
    assert len(owners) == 4 and sum(owner.most for owner in owners) == MOST_ACCOUNTS


async def test_asks_of_one_turn_go_out_together_and_say_who_runs() -> None:
    world = World(FLEET)
    for worker in range(2):
        world.ask(worker, Kind.FLEET_ASKS, Holder(Terms(10.0, 100)), "fleet")
    await asyncio.sleep(0)
    (message,) = world.sent
    assert [ask.worker for ask in message.asks] == ["0.1", "1.2"] == list(message.workers)
    world.workers.pop()
    world.lending.ended("1.2")
    assert (list(world.sent[1].workers), len(world.sent[1].asks)) == (["0.1"], 0)
    assert (world.sent[1].run, world.sent[1].sequence) == (message.run, message.sequence + 1)


async def test_a_disk_that_hangs_lets_a_bounded_number_of_messages_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lending, "MOST_WAITING", 3)
    world, holder = World(FLEET, disk=Disk()), Holder(Terms(10.0, 100))
    answer = pb.LimitAnswers(answers=[pb.LimitAnswer(limit="fleet", worker="0.1", epoch=3)])
    for _ in range(5):
        world.lending.answered(answer)
    for _ in range(4):
        world.ask(0, Kind.FLEET_ASKS, holder, "fleet")
        holder.lost()
    await asyncio.sleep(0)
    assert not world.sent and not world.lending._pending
    assert len(world.lending._held) == 3
    assert Kind.LOST in [kind for kind, _ in world.workers[0].frames]


async def test_answers_go_to_the_worker_that_asked() -> None:
    world = World(FLEET)
    answers = [pb.LimitAnswer(limit="fleet", worker=name, epoch=3) for name in ("1.2", "0.1", "9.9")]
    world.lending.answered(pb.LimitAnswers(answers=answers))
    assert [len(worker.answers()) for worker in world.workers] == [1, 1]


async def test_without_a_control_plane_workers_are_told_at_once() -> None:
    world = World(FLEET)
    world.connected = False
    world.ask(0, Kind.FLEET_ASKS, Holder(Terms(10.0, 100)), "fleet")
    await asyncio.sleep(0)
    assert [worker.frames for worker in world.workers] == [[(Kind.LOST, b"")]] * 2


async def test_asks_that_are_too_large_for_one_message_go_in_several() -> None:
    world = World(FLEET)
    wants = [pb.LimitWant(key=b"x" * 1000) for _ in range(1000)]
    asks = pb.LimitAsks(asks=[pb.LimitAsk(limit="fleet", wants=wants) for _ in range(20)])
    world.lending.take(world.workers[0], Kind.FLEET_ASKS, asks.SerializeToString())
    await asyncio.sleep(0)
    assert sum(len(message.asks) for message in world.sent) == 20
    assert max(message.ByteSize() for message in world.sent) < 6 * 1024 * 1024
    first = world.sent[0].sequence
    assert [message.sequence - first for message in world.sent] == list(range(len(world.sent)))


def granted(world: World, starter: int) -> pb.LimitAnswers:
    """An owner's answer to the first worker."""
    answer = pb.LimitAnswer(limit="fleet", counts_by="subject", worker="0.1", stamp=world.now, epoch=3)
    answer.starter, answer.lease, answer.pace = starter, 3600.0, 2.0
    return pb.LimitAnswers(answers=[answer])


async def test_shares_are_recorded_while_no_owner_answers_and_an_answer_waits_for_the_end_of_the_record() -> (
    None
):
    disk = Disk()
    world, holder = World(FLEET, disk=disk), Holder(Terms(10.0, 100))
    world.ask(0, Kind.FLEET_ASKS, holder, "fleet")
    await asyncio.sleep(0)
    world.lending.answered(granted(world, 10))
    until = world.now + 3600.0
    await world.lending._keep_record(world.now)
    assert not disk.rows
    world.now += 3.0
    await world.lending._keep_record(world.now)
    assert disk.rows == [Row("0.1", "fleet", "subject", Share(10, 2.0, until))]
    assert disk.run == world.sent[0].run
    assert len(world.workers[0].answers()) == 1
    holder.lost()
    world.ask(0, Kind.FLEET_ASKS, holder, "fleet")
    await asyncio.sleep(0)
    world.lending.answered(granted(world, 5))
    assert not world.workers[0].answers()
    before = len(world.sent)
    world.lending._pass_on()
    assert len(world.sent) == before
    await world.lending._keep_record(world.now)
    assert not disk.rows
    assert len(world.workers[0].answers()) == 1
    assert len(world.sent) == before + 1


async def test_the_next_process_names_the_workers_before_until_their_successors_are_done() -> None:
    disk = Disk([Row(worker, "fleet", "subject", Share(10, 2.0, 3000.0)) for worker in ("0.0", "1.0")])
    world = World(FLEET, disk=disk)
    for worker in world.workers:
        world.lending.started(worker)
        assert worker.frames == [(Kind.SHARES, b'[["fleet", "subject", 10, 2.0, 3000.0]]')]
    world.ask(0, Kind.FLEET_ASKS, Holder(Terms(10.0, 100)), "fleet")
    await asyncio.sleep(0)
    assert (world.sent[0].run, list(world.sent[0].workers)) == ("former", ["0.0", "1.0", "0.1", "1.2"])
    world.lending.take(world.workers[0], Kind.DROPPED, b"")
    assert len(world.sent) == 1, "the record names it still"
    await world.lending._keep_record(world.now)
    assert list(world.sent[1].workers) == ["1.0", "0.1", "1.2"]
