"""Control planes restarted one after the other under load: no request fails, and nobody is sent what they have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

import headgate
from demo.processes import ControlPlane
from headgate import ServiceDefinition
from tests.support import pair as pairs
from tests.support.instance import Instance
from tests.support.load import Load
from tests.support.pair import Pair
from tests.support.rolling import Callers, Working
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

MOVED_WITHIN = 5.0
"""Seconds from the loss of a control plane until a data plane has its stream at another one: 2, and what a busy
machine adds."""


@dataclass(frozen=True)
class Sent:
    """What a control plane process has sent to data planes."""

    snapshots: float
    resources: float
    mismatches: float

    @classmethod
    def read(cls, metrics: Mapping[str, float]) -> Sent:
        def total(family: str) -> float:
            name = f"headgate_controlplane_{family}_total"
            return sum(value for sample, value in metrics.items() if sample.partition("{")[0] == name)

        return cls(total("snapshots_sent"), total("resources_sent"), total("delta_mismatches"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Data planes that know both control planes and are spread over them."""
    async with pairs.running(tmp_path_factory.mktemp("pair")) as pair:
        names = (pair.prefers(pair.a, "first"), pair.prefers(pair.b, "second"), pair.prefers(pair.b, "third"))
        await asyncio.gather(*(pair.add(name, *pair.addresses) for name in names))
        await pair.settled()
        assert await pair.serving(pair.a) == {names[0]}
        yield pair


def registration(pair: Pair, service: str, instance: Instance) -> headgate.Registration:
    return headgate.register(
        ServiceDefinition(service, check_interval=1, check_timeout=5),
        host="127.0.0.1",
        port=instance.port,
        instance_id=instance.name,
        wait=20,
        controlplane=",".join(pair.addresses),
        token=pair.a.secrets.service_token,
    )


def route(name: str, service: str) -> dict[str, object]:
    return {"name": name, "prefix": f"/{name}", "service_name": service, "public": True}


async def all_at(pair: Pair, controlplane: ControlPlane, since: float) -> float:
    """Wait until every data plane has its stream here; seconds that this took."""
    everyone = set(pair.dataplanes)

    async def there() -> bool:
        return await pair.serving(controlplane) == everyone

    await eventually(there, within=30, every=0.02)
    return time.monotonic() - since


async def test_nobody_is_sent_what_they_have(pair: Pair) -> None:
    async with Instance("orders-1") as instance, registration(pair, "orders", instance):
        (await pair.apply(pair.a, {"routes": [route("orders", "orders")]}, wait="20")).raise_for_status()
        async with Load(pair.ports, "/orders") as load:
            moving = [await _restarted(pair, down, up) for down, up in ((pair.a, pair.b), (pair.b, pair.a))]
    assert not load.failures, load.failures[:5]
    assert len(load.answers) > 200
    assert max(moving) < MOVED_WITHIN
    print(f"{len(load.answers)} requests; moved within {max(moving):.2f} s")  # noqa: T201


async def _restarted(pair: Pair, down: ControlPlane, up: ControlPlane) -> float:
    """One restart, with a change meanwhile; seconds within which the other one had everybody."""
    before = Sent.read(await pair.metrics(up))
    begun = time.monotonic()
    stopping = asyncio.create_task(pair.stop(down))
    took = await all_at(pair, up, begun)
    await stopping
    assert Sent.read(await pair.metrics(up)) == before, "whoever comes has everything"
    routes = [route(f"while-{down.name}-was-away-{number}", "orders") for number in range(3)]
    (await pair.apply(up, {"routes": routes}, wait="20")).raise_for_status()
    news = len(pair.dataplanes) * len(routes)
    expected = Sent(before.snapshots, before.resources + news, 0)
    assert Sent.read(await pair.metrics(up)) == expected, "each gets what is new"
    await pair.start(down)
    await pair.settled()
    return took


async def test_a_killed_one_is_left_within_two_seconds(pair: Pair) -> None:
    """No goodbye, and what is published when they come back is ahead of what they have."""
    await all_at(pair, pair.a, time.monotonic())
    before = Sent.read(await pair.metrics(pair.b))
    begun = time.monotonic()
    await pair.kill(pair.a)
    routes = [route("while-nobody-was-there", "orders")]
    (await pair.apply(pair.b, {"routes": routes})).raise_for_status()
    assert await all_at(pair, pair.b, begun) < MOVED_WITHIN
    (await pair.apply(pair.b, {"routes": routes}, wait="20")).raise_for_status()
    sent = Sent.read(await pair.metrics(pair.b))
    assert (sent.snapshots, sent.resources) == (before.snapshots, before.resources + len(pair.dataplanes))
    await pair.start(pair.a)
    await pair.settled()


@asynccontextmanager
async def serving(pair: Pair, name: str) -> AsyncIterator[Working]:
    """An instance that is registered within the block, routable from the start, and breaks off right after it."""
    async with Working(name) as instance:
        async with registration(pair, "rolled", instance):
            yield instance
        assert instance.busy == 0
        await instance.die()


@pytest.mark.long
async def test_a_service_is_rolled_while_control_planes_are(pair: Pair) -> None:
    stack = AsyncExitStack()
    await stack.enter_async_context(serving(pair, "generation-0"))
    (await pair.apply(pair.a, {"routes": [route("rolled", "rolled")]}, wait="20")).raise_for_status()
    callers = Callers(pair.urls("/rolled"))
    calling = asyncio.create_task(callers.run(6))
    try:
        for generation, restarted in enumerate((pair.a, pair.b, pair.a, pair.b), 1):
            await callers.more(f"generation-{generation - 1}")
            restarting = asyncio.create_task(_restart(pair, restarted))
            newer = AsyncExitStack()
            await newer.enter_async_context(serving(pair, f"generation-{generation}"))
            await stack.aclose()
            stack = newer
            await restarting
        await callers.more("generation-4")
    finally:
        callers.end()
        await calling
        await stack.aclose()
    assert set(callers.answers) == {f"generation-{number}" for number in range(5)}, callers.answers


async def _restart(pair: Pair, controlplane: ControlPlane) -> None:
    await pair.stop(controlplane)
    await pair.start(controlplane)
