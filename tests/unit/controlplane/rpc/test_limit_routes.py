"""Asks and answers of data planes that are connected here, without a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from controlplane.limits.claims import Claim, Claims
from controlplane.limits.desk import Desk
from controlplane.limits.partitions import COUNT
from controlplane.rpc import LimitRoutes
from controlplane.rpc.config_stream import MOST_WAITING, ConfigStream
from controlplane.store import FencedStore, MemoryStore
from headgate_api.leases import codec
from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import Limit
from headgate_api.leases.owner import Owner
from headgate_api.v1 import limits_pb2 as pb

LIMIT = Limit(10.0, 100)


class Owning:
    """A control plane that owns everything, the limit "callers" above all."""

    def __init__(self) -> None:
        self.now = 100.0
        store = MemoryStore()
        claims = Claims(store, "one", lambda: ["one"], clock=lambda: self.now)
        claims._good_until = 1e9
        claims.owners = dict.fromkeys(range(COUNT), "one")
        claim = Claim(0, 1, FencedStore(store, "/claim", 1), 0.0)
        claims.held = {0: claim}
        self.desk = Desk(claims, lambda: self.now)
        self.owner = Owner(LIMIT, 1, self.now, takeover=False)
        self.desk._owners["callers"] = claim, "subject", self.owner
        self.routes = LimitRoutes(self.desk, claims)
        self.answers: list[pb.LimitAnswer] = []

    def take(self, sequence: int, workers: list[str], *asking: str) -> list[pb.LimitAnswer]:
        self.now += 1
        asks = []
        for worker in asking:
            ask = Holder(LIMIT).ask(self.now)
            assert ask is not None
            message = codec.ask_message("callers", "subject", ask)
            message.worker = worker
            asks.append(message)
        self.answers.clear()
        with self.routes.replies("gw", lambda answers: self.answers.extend(answers.answers)):
            self.routes.take("gw", pb.LimitAsks(run="r", sequence=sequence, workers=workers, asks=asks))
        return self.answers


def test_a_worker_that_has_ended_is_not_answered_for_what_it_had_asked_before() -> None:
    world = Owning()
    assert [answer.epoch for answer in world.take(1, ["0", "1"], "0", "1")] == [1, 1]
    world.take(3, ["1"])
    # This one went another way, and took longer.
    late = world.take(2, ["0", "1"], "0", "1")
    assert {answer.worker: answer.epoch for answer in late} == {"0": 0, "1": 1}
    assert set(world.owner.roll.members) == {"gw/r/1"}


def test_answers_do_not_pile_up_for_a_data_plane_that_asks_and_does_not_read() -> None:
    world, nothing = Owning(), cast(Any, None)
    stream = ConfigStream(nothing, nothing, nothing, limits=world.routes)
    with stream._answers(cast(Any, SimpleNamespace(node="gw", wake=asyncio.Event()))) as waiting:
        for number in range(1000):
            world.routes.answered(pb.LimitAnswers(node="gw", answers=[pb.LimitAnswer(stamp=number)]))
    assert len(waiting) == MOST_WAITING
    assert waiting[-1].answers[0].stamp == 999
