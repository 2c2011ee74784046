"""An instance whose host is a name: its traffic follows the name, also on connections that are never idle."""

from __future__ import annotations

import asyncio

from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.policy.resources import HealthCheck, Instance, Route, Service
from dataplane.health.endpoint import EndpointChecker
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.resolver import Resolver
from tests.support.http_stage import Stage, Upstream, answering, stage
from tests.support.waiting import eventually

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NAME = "orders.internal"


def saying(body: bytes) -> Upstream:
    return Upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))


class Names:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def __call__(self, host: str) -> tuple[str, ...]:
        assert host == NAME
        return self.addresses


def send_to(gate: Stage, names: Names, port: int) -> None:
    gate.proxy.dialer.resolver = Resolver(names, every=0.05)
    gate.gateway.swap(
        build(
            ResourceSet.of(
                Service("s"),
                Instance("s", "0", NAME, port),
                UnlinkedRoute(Route("all", "s", prefix="/", public=True)),
            ),
            8,
        ),
        0.0,
    )


async def test_a_changed_address_is_followed_by_busy_connections_too() -> None:
    before, after = saying(b"before"), saying(b"after")
    await before.start()
    await after.start(before.port, host="127.0.0.2")
    names = Names("127.0.0.1")
    async with stage(before, after) as gate:
        send_to(gate, names, before.port)
        client = await gate.client()
        await client.say(ASK)
        assert (await client.answer())[1] == b"before"
        names.addresses = ("127.0.0.2",)

        async def moved() -> bool:
            await client.say(ASK)
            return (await client.answer())[1] == b"after"

        await eventually(moved)
        await eventually(lambda: before.open == 0)


async def test_the_first_address_that_accepts() -> None:
    upstream = saying(b"ok")
    await upstream.start(host="127.0.0.2")
    async with stage(upstream) as gate:
        send_to(gate, Names("127.0.0.3", "127.0.0.2"), upstream.port)
        assert (await gate.ask(ASK))[1] == b"ok"


async def test_a_connection_is_replaced_at_a_certain_age() -> None:
    upstream = saying(b"ok")
    async with stage(upstream, bounds=Bounds(pool_age=0.2)) as gate:
        client = await gate.client()

        async def replaced() -> bool:
            await client.say(ASK)
            assert (await client.answer())[1] == b"ok"
            return upstream.connections > 1

        await eventually(replaced)
        await eventually(lambda: upstream.open <= 1)


async def test_probes_go_where_requests_go() -> None:
    """Both try the addresses of localhost in one order: here the one of them that answers."""
    upstream = saying(b"ok")
    async with stage(upstream) as gate:
        gate.gateway.swap(
            build(
                ResourceSet.of(
                    Service("s"),
                    Instance("s", "0", "localhost", upstream.port),
                    UnlinkedRoute(Route("all", "s", prefix="/", public=True)),
                ),
                8,
            ),
            0.0,
        )
        assert (await gate.ask(ASK))[1] == b"ok"
        probe = await EndpointChecker()(
            Instance("s", "0", "localhost", upstream.port), HealthCheck(timeout=5.0)
        )
        assert probe.passed, probe.reason
        await asyncio.sleep(0)
