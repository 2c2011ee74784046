"""How often names are looked up, and who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.discovery import backoff
from controlplane.discovery.answer import Answer
from controlplane.discovery.dns import AGAIN_AT_ONCE, AT_ONCE, DnsResolver, LookupFailed, follow
from controlplane.discovery.records import Records
from controlplane.model.base import parse_as
from controlplane.model.discovery import DnsSource
from tests.support.waiting import eventually


def named(name: str) -> DnsSource:
    return parse_as(DnsSource, {"name": name, "port": 80})


async def test_names_whose_servers_are_silent_do_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = asyncio.Event()

    async def look_up(self: DnsResolver, source: DnsSource) -> Records:
        if source.name == "silent.example":
            await never.wait()
        return Records(["10.0.0.1"])

    monkeypatch.setattr(DnsResolver, "_look_up", look_up)
    resolver = DnsResolver()
    waiting = [
        asyncio.create_task(resolver.look_up(named("silent.example"), again=True)) for _ in range(2 * AT_ONCE)
    ]
    await asyncio.sleep(0)
    found = await asyncio.gather(
        *(resolver.look_up(named("orders.example")) for _ in range(AT_ONCE - AGAIN_AT_ONCE))
    )
    assert all(each.addresses for each in found)
    for task in waiting:
        task.cancel()


class Flaky:
    """Fails in the lookups of these numbers."""

    def __init__(self, *failing: int) -> None:
        self._failing = failing
        self.asked = 0
        self.repeated = list[bool]()

    async def look_up(self, source: DnsSource, *, again: bool = False) -> Records:
        self.asked += 1
        self.repeated.append(again)
        if self.asked in self._failing:
            raise LookupFailed("no response")
        return Records(["10.0.0.1"])


@pytest.mark.parametrize(
    ("failing", "problems"),
    [((2,), ["", "", ""]), ((1,), ["no response", "", ""]), ((2, 3), ["", "no response", ""])],
)
async def test_one_failure_after_an_answer_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, failing: tuple[int, ...], problems: list[str]
) -> None:
    monkeypatch.setattr(backoff, "until_expiry", lambda ttl, chance: 0.0)
    monkeypatch.setattr(backoff, "pause", lambda failures, chance: 0.0)
    resolver, told = Flaky(*failing), list[Answer]()
    task = asyncio.create_task(follow(named("orders.example"), resolver, lambda host: None, told.append))
    await eventually(lambda: len(told) >= 3)
    task.cancel()
    assert [each.problem for each in told[:3]] == problems
    assert resolver.repeated[failing[0]] and not resolver.repeated[0]
