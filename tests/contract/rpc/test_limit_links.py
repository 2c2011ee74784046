"""Asks about limits between two control planes, over a real gRPC stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from controlplane.fleet.members import Member
from controlplane.fleet.nodes import Fleet
from controlplane.identity import PeerSecret, RefusedCalls
from controlplane.limits.claims import Claims
from controlplane.limits.desk import Desk
from controlplane.limits.partitions import COUNT
from controlplane.rpc import LimitLinks, LimitRoutes
from controlplane.rpc.peer_stream import PeerStream
from controlplane.store import MemoryStore
from headgate_api.leases import codec
from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import Limit
from headgate_api.v1 import limits_pb2 as pb
from headgate_api.v1.peers_pb2_grpc import add_PeerServiceServicer_to_server
from tests.support.waiting import eventually

SECRET = PeerSecret("x" * 40)
LIMIT = Limit(10.0, 100)


@asynccontextmanager
async def owner(name: str = "one", secret: PeerSecret = SECRET) -> AsyncIterator[Member]:
    """A control plane that owns everything, and the limit "callers" above all."""
    claims = Claims(MemoryStore(), name, lambda: [name], look=0.01)
    desk = Desk(claims)
    desk.adopt({"callers": ("subject", LIMIT)})
    stream = PeerStream(Fleet(), secret, name, RefusedCalls(), limits=LimitRoutes(desk, claims))
    server: Any = grpc.aio.server()
    add_PeerServiceServicer_to_server(stream, server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tasks = [asyncio.create_task(claims.run()), asyncio.create_task(desk.run())]
    await eventually(lambda: "callers" in desk._owners)
    try:
        yield Member(f"127.0.0.1:{port}")
    finally:
        stream.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(0)


class Asker:
    """A control plane to which data plane "gw" is connected; partitions belong to `owner`."""

    def __init__(self, member: Member | None, owner: str = "one", secret: PeerSecret = SECRET) -> None:
        claims = Claims(MemoryStore(), "two", list)
        claims.owners = dict.fromkeys(range(COUNT), owner)
        self.routes = LimitRoutes(Desk(claims), claims)
        self.links = self.routes.link = LimitLinks(self.routes, secret, "two", lambda name: member)
        self.answers: list[pb.LimitAnswer] = []
        self.holder = Holder(LIMIT)
        self.now = 0.0
        self.sequence = 0

    def ask(self, limit: str = "callers") -> None:
        self.now += 3
        self.sequence += 1
        ask = self.holder.ask(self.now)
        assert ask is not None
        message = codec.ask_message(limit, "subject", ask)
        message.worker = "0"
        asks = pb.LimitAsks(run="r", sequence=self.sequence, workers=["0"], asks=[message])
        with self.routes.replies("gw", lambda answers: self.answers.extend(answers.answers)):
            self.routes.take("gw", asks)

    async def answered(self, epoch: bool) -> pb.LimitAnswer:
        def reply(answers: pb.LimitAnswers) -> None:
            self.answers.extend(answers.answers)

        with self.routes.replies("gw", reply):
            await eventually(lambda: self.answers)
        answer = self.answers.pop()
        assert (answer.epoch > 0) == epoch
        return answer


@asynccontextmanager
async def asking(asker: Asker) -> AsyncIterator[Asker]:
    try:
        yield asker
    finally:
        await asker.links.close()


async def test_an_ask_goes_to_the_owner_and_its_answer_to_the_data_plane() -> None:
    async with owner() as member, asking(Asker(member)) as asker:
        for _ in range(3):
            asker.ask()
            answer = await asker.answered(epoch=True)
            assert (answer.limit, answer.worker) == ("callers", "0")
        asker.ask("unknown")
        await asker.answered(epoch=False)


async def test_what_an_owner_does_not_answer_any_more_is_refused() -> None:
    async with asking(Asker(None)) as asker:
        asker.ask()
        await asker.answered(epoch=False)
    async with asking(Asker(Member("127.0.0.1:1"))) as asker:
        asker.ask()
        await asker.answered(epoch=False)
    async with owner() as member:
        asker = Asker(member)
        asker.ask()
        await asker.answered(epoch=True)
    async with asking(asker):
        asker.ask()
        await asker.answered(epoch=False)


async def test_without_an_owner_every_ask_is_refused() -> None:
    async with asking(Asker(None, owner="")) as asker:
        asker.ask()
        await asker.answered(epoch=False)


@pytest.mark.parametrize("other", [PeerSecret("y" * 40), SECRET])
async def test_neither_end_believes_an_impostor(other: PeerSecret) -> None:
    name = "one" if other is not SECRET else "somebody else"
    async with owner(name, other) as member, asking(Asker(member)) as asker:
        asker.ask()
        await asker.answered(epoch=False)
