"""Asks and answers of data planes that are connected here, without a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from controlplane.distribute.extracts import Extracts
from controlplane.limits.claims import Claim, Claims
from controlplane.limits.desk import COARSE, Desk, coarse_limit
from controlplane.limits.partitions import COUNT
from controlplane.model.config import Config
from controlplane.model.pool import Pool
from controlplane.model.resources import parse
from controlplane.model.stored import encode, key_of
from controlplane.rpc import LimitRoutes
from controlplane.rpc.config_stream import MOST_WAITING, ConfigStream
from controlplane.rpc.own_reports import OwnReports
from controlplane.store import Entry, FencedStore, MemoryStore
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


def of_pool(pool: str) -> OwnReports:
    """What data planes of a pool may speak of: each of two pools serves the route of one limit."""
    limits = {"callers": ["east"], "others": ["west"]}
    resources = [
        Pool(name="east"),
        Pool(name="west"),
        *(parse("rate_limit", {"name": name, "per_second": 10, "burst": 100}) for name in limits),
        *(
            parse(
                "route",
                {"name": name, "prefix": f"/{name}", "respond": {"status": 204}, "pools": pools}
                | {"public": True, "rate_limits": [name]},
            )
            for name, pools in limits.items()
        ),
    ]
    config = Config(
        Entry(key_of(one.KIND, one.name), encode(one), number) for number, one in enumerate(resources, 1)
    )
    whole, touched = config.publish(9)
    return OwnReports(Extracts().publish(whole, touched, config.pools), pool)


def asked(world: Owning, limit: str, allowed: OwnReports | None) -> list[pb.LimitAnswer]:
    ask = Holder(LIMIT).ask(world.now)
    assert ask is not None
    message = codec.ask_message(limit, "subject", ask)
    message.worker = "0"
    answers: list[pb.LimitAnswer] = []
    with world.routes.replies("gw", lambda sent: answers.extend(sent.answers)):
        world.routes.take("gw", pb.LimitAsks(run="r", sequence=1, workers=["0"], asks=[message]), allowed)
    return answers


def test_a_limit_is_leased_to_the_pools_that_serve_its_routes() -> None:
    world = Owning()
    (leased,) = asked(world, "callers", of_pool("east"))
    (refused,) = asked(world, "callers", of_pool("west"))
    assert (leased.epoch, refused.epoch, refused.limit) == (1, 0, "callers")
    assert set(world.owner.roll.members) == {"gw/r/0"}


def test_each_pool_has_its_own_buckets_of_the_settings_limit() -> None:
    world = Owning()
    claim = world.desk._owners["callers"][0]
    owners = {
        name: Owner(LIMIT, 1, world.now, takeover=False) for name in coarse_limit(1.0, 1, pools=["east"])
    }
    for name, owner in owners.items():
        world.desk._owners[name] = claim, "subject", owner
    (answer,) = asked(world, COARSE, of_pool("east"))
    assert (answer.limit, answer.epoch) == (COARSE, 1), "data planes know it under one name"
    assert [len(owner.roll.members) for owner in owners.values()] == [0, 1]
    # The name of another pool's buckets opens nothing.
    (refused,) = asked(world, f"{COARSE}@east", of_pool("west"))
    assert refused.epoch == 0 and len(owners[f"{COARSE}@east"].roll.members) == 1
