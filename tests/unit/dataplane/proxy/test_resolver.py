"""Names of instances: one look-up for many, again every few seconds, and the old answer while there is no new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from dataplane.gateway.policy.resources import Instance
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.lookups import Lookups, in_order
from dataplane.proxy.pool import Endpoint
from dataplane.proxy.resolver import Resolver
from tests.support.waiting import eventually


class Names:
    """Answers as it is told to."""

    def __init__(self, *answer: str) -> None:
        self.answer: tuple[str, ...] | OSError = answer
        self.asked = 0

    async def __call__(self, host: str) -> tuple[str, ...]:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def endpoint(host: str = "orders.example") -> Endpoint:
    return Endpoint(Instance("orders", "1", host, 80), Bounds())


@asynccontextmanager
async def resolving(names: Names, every: float = 0.01) -> AsyncIterator[Resolver]:
    resolver = Resolver(names, every)
    try:
        yield resolver
    finally:
        resolver.stop()


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (["10.0.0.9", "10.0.0.10", "10.0.0.9"], ("10.0.0.9", "10.0.0.10")),
        (["::2", "::1", "10.0.0.1"], ("::1", "::2", "10.0.0.1")),
        (["10.0.0.1", "::1"], ("10.0.0.1", "::1")),
        ([], ()),
    ],
)
def test_one_order_whatever_the_name_server_rotates(found: list[str], order: tuple[str, ...]) -> None:
    assert in_order(found) == order


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    names = Names()
    async with resolving(names) as resolver:
        assert await resolver.addresses(endpoint(host)) == (host,)
        assert await Lookups()(host) == (host,)
    assert not names.asked


async def test_the_system_knows_localhost() -> None:
    assert "127.0.0.1" in await Lookups()("localhost")


async def test_many_that_wait_are_one_look_up() -> None:
    names, same = Names("10.0.0.1"), endpoint()
    async with resolving(names, 60.0) as resolver:
        found = await asyncio.gather(*(resolver.addresses(same) for _ in range(5)))
        assert set(found) == {("10.0.0.1",)} and names.asked == 1
        assert await resolver.addresses(same) == ("10.0.0.1",) and names.asked == 1


async def test_a_change_is_followed_while_there_are_connections() -> None:
    names, busy, idle = Names("10.0.0.1"), endpoint(), endpoint()
    busy.in_flight = 1
    async with resolving(names) as resolver:
        for each in (busy, idle):
            await resolver.addresses(each)
        names.answer = ("10.0.0.2",)
        await eventually(lambda: busy.addresses == ("10.0.0.2",))
        assert await resolver.addresses(idle) == ("10.0.0.2",)
        busy.in_flight = 0
        await quiet(lambda: names.asked)


async def test_the_old_answer_stays_while_there_is_no_new_one() -> None:
    names, used = Names("10.0.0.1"), endpoint()
    used.in_flight = 1
    async with resolving(names) as resolver:
        await resolver.addresses(used)
        names.answer, asked = OSError("no name server"), names.asked
        await eventually(lambda: names.asked > asked + 1)
        assert await resolver.addresses(used) == ("10.0.0.1",)


async def test_a_first_look_up_that_fails_is_told_and_tried_again() -> None:
    names, new = Names(), endpoint()
    names.answer = OSError("no such name")
    async with resolving(names, 60.0) as resolver:
        with pytest.raises(OSError, match="no such name"):
            await resolver.addresses(new)
        names.answer = ("10.0.0.1",)
        assert await resolver.addresses(new) == ("10.0.0.1",)


async def test_an_address_that_did_not_accept_is_looked_up_again() -> None:
    names, used = Names("10.0.0.1"), endpoint()
    async with resolving(names, 60.0) as resolver:
        await resolver.addresses(used)
        names.answer = ("10.0.0.2",)
        resolver.doubt(used)
        assert await resolver.addresses(used) == ("10.0.0.2",)


async def quiet(count: Callable[[], int]) -> None:
    """Wait until a counter has stood still for longer than its interval."""
    loop = asyncio.get_running_loop()
    seen, since = count(), loop.time()
    async with asyncio.timeout(5.0):
        while loop.time() - since < 0.1:
            await asyncio.sleep(0.01)
            if count() != seen:
                seen, since = count(), loop.time()
