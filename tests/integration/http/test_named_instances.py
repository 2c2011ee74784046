"""Instances whose host is a name: what it resolves to decides, for requests and for probes."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from dataplane.gateway.policy.resources import HealthCheck, Instance, Retries
from dataplane.health.endpoint import EndpointChecker
from dataplane.proxy.exchange import Result
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.targets import Targets
from tests.support.http_stage import OK, Upstream, answering, stage

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NAME = "orders.example"
ONCE = Retries(attempts=0)


def loopback(host: str) -> tuple[str, ...]:
    return ("127.0.0.1",)


async def test_a_name_that_resolves_to_our_own_loopback_is_not_connected_to() -> None:
    """Its port may be that of our status pages."""
    upstream = Upstream(answering(OK))
    async with stage(upstream, host=NAME, lookups=Lookups(loopback), retries=ONCE) as gate:
        head, body = await gate.ask(ASK)
        assert head.startswith(b"HTTP/1.1 503 ") and b"loopback" not in body
        reason = gate.observer.exchanges[0].reason
        assert "orders.example resolves to 127.0.0.1, a loopback address" in reason
    probe = await EndpointChecker(Lookups(loopback))(Instance("s", "0", NAME, upstream.port), HealthCheck())
    assert not probe.passed and "a loopback address" in probe.reason
    assert upstream.connections == 0


async def test_unless_that_is_allowed() -> None:
    allowed = Lookups(loopback, Targets(["127.0.0.0/8"]))
    upstream = Upstream(answering(OK))
    async with stage(upstream, host=NAME, lookups=allowed) as gate:
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 200 ")
        probe = await EndpointChecker(allowed)(Instance("s", "0", NAME, upstream.port), HealthCheck())
        assert probe.passed, probe


async def test_a_look_up_without_descriptors_is_not_charged_to_the_instance() -> None:
    def without(host: str) -> tuple[str, ...]:
        raise OSError(errno.EMFILE, "Too many open files")

    async with stage(80, host=NAME, lookups=Lookups(without), retries=ONCE) as gate:
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 503 ")
        exchange = gate.observer.exchanges[0]
        assert (exchange.result, exchange.decision) == (Result.ABANDONED, "exhausted")


@contextlib.contextmanager
def silence(port: int) -> Iterator[str]:
    """An address at which nothing answers on this port: its backlog is full."""
    address = "127.0.0.2"
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield address


async def test_an_address_that_says_nothing_does_not_keep_the_next_from_being_tried() -> None:
    upstream = Upstream(answering(OK))
    await upstream.start(host="127.0.0.3")
    with silence(upstream.port) as silent:
        names = Lookups(lambda _: (silent, "127.0.0.3"), Targets(["127.0.0.0/8"]))
        async with stage(upstream, host=NAME, lookups=names, retries=ONCE) as gate:
            assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 200 ")
            probe = await EndpointChecker(names)(Instance("s", "0", NAME, upstream.port), HealthCheck())
            assert probe.passed, probe
