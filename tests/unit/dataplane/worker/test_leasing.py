"""When a worker asks the owners of limits: in turns, and at once about a key that runs low."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import cast

import pytest

from dataplane.channel import Channel, Kind
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from dataplane.worker import leasing as module
from dataplane.worker.leasing import HURRIES, HURRIES_PER_SECOND, HURRY, Haste, Leasing
from headgate_api.leases import codec
from headgate_api.leases.messages import Limit as Terms
from headgate_api.leases.owner import Owner
from headgate_api.v1 import limits_pb2 as pb

LIMIT = Limit("callers", 1.0, 100, LimitKey.SUBJECT)


class Supervisor:
    """The other end of the channel, and the owner of the limit."""

    backlog = 0

    def __init__(self) -> None:
        self.owner = Owner(Terms(1.0, 100), 1, time.monotonic(), takeover=False, stored=False)
        self.asked: asyncio.Queue[pb.LimitAsk] = asyncio.Queue()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        assert kind is Kind.NODE_ASKS
        for ask in pb.LimitAsks.FromString(payload).asks:
            self.asked.put_nowait(ask)

    async def answer(self, leasing: Leasing) -> list[str]:
        """Answer the next ask; the keys that it is about."""
        async with asyncio.timeout(30):
            message = await self.asked.get()
        answer = self.owner.ask("0", codec.read_ask(message), time.monotonic())
        assert answer is not None
        answers = pb.LimitAnswers(answers=[codec.answer_message(message, answer)])
        leasing.answered(answers.SerializeToString())
        return [want.key.decode() for want in message.wants]


async def test_a_key_that_runs_low_does_not_wait_for_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKING", 3600.0)
    supervisor, limiter = Supervisor(), Limiter(share=0.5)
    leasing = Leasing(limiter, cast(Channel, supervisor))
    limiter.adopt({LIMIT.name: LIMIT}, time.monotonic())
    counter = limiter.counter(LIMIT)

    def take(key: str, requests: int) -> int:
        return sum(counter.take(key, time.monotonic()) == 0.0 for _ in range(requests))

    running = asyncio.create_task(leasing.run())
    try:
        assert await supervisor.answer(leasing) == []
        for key in ("ann", "bob"):
            assert take(key, 20) == 20
            assert await supervisor.answer(leasing) == [key]
        assert take("ann", 30) == 30
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_ever_new_keys_do_not_make_a_worker_ask_without_end() -> None:
    haste, now, asks = Haste(), 1000.0, 0
    while now < 1010.0:
        now += haste.pause(now)
        asks += 1
    assert HURRIES + 10 * HURRIES_PER_SECOND <= asks <= HURRIES + 10 * HURRIES_PER_SECOND + 10
    # A quiet time lets it hurry again.
    now += HURRIES / HURRIES_PER_SECOND + 1
    assert [haste.pause(now) for _ in range(HURRIES)] == [HURRY] * HURRIES
    assert haste.pause(now) > HURRY


class Silent:
    """A channel to a supervisor that answers nothing."""

    backlog = 0

    def __init__(self) -> None:
        self.kinds: list[Kind] = []

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self.kinds.append(kind)


def test_the_supervisor_learns_when_a_predecessors_shares_are_used_no_more() -> None:
    channel, limiter, now = Silent(), Limiter(), time.monotonic()
    leasing = Leasing(limiter, cast(Channel, channel))
    fleet = replace(LIMIT, mode=LimitMode.FLEET)
    leasing.succeed([["callers", "subject", 10, 1.0, now + 50.0]])
    leasing.ask(now)
    limiter.adopt({fleet.name: fleet}, now)
    leasing.ask(now + 1.0)
    assert channel.kinds == [Kind.FLEET_ASKS]
    leasing.ask(now + 50.0)
    leasing.ask(now + 51.0)
    assert [kind for kind in channel.kinds if kind is Kind.DROPPED] == [Kind.DROPPED]
