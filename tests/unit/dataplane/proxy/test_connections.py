"""Counting client connections: from accept on, by address block, and until the last one is gone."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.trust import Peer


class Speaker:
    """A connection that remembers being drained."""

    deadline = 0.0
    transport = cast(asyncio.Transport, None)

    def __init__(self, address: str) -> None:
        self.peer = Peer(address)
        self.entrance = Entrance()
        self.drained = False

    def expire(self, now: float) -> None:
        """Nothing expires here."""

    def drain(self) -> None:
        self.drained = True


def test_a_connection_counts_before_it_begins() -> None:
    connections = Connections(Bounds(connections=2))
    one, two = Speaker("192.0.2.1"), Speaker("192.0.2.2")
    assert connections.admit(one.peer) and connections.admit(two.peer)
    assert not connections.admit(Peer("192.0.2.3")) and connections.refused == 1
    assert len(connections) == 2 and not list(connections)
    connections.begin(one)
    connections.gone(one)
    connections.gone(one)
    assert len(connections) == 1
    connections.left(two.peer)
    assert not connections


@pytest.mark.parametrize(
    ("addresses", "admitted"),
    [
        (["192.0.2.1", "192.0.2.1", "192.0.2.2"], [True, False, True]),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], [True, False, True]),
    ],
    ids=["IPv4: each address", "IPv6: each /64"],
)
def test_the_bound_of_an_address(addresses: list[str], admitted: list[bool]) -> None:
    connections = Connections(Bounds(connections_per_address=1))
    assert [connections.admit(Peer(address)) for address in addresses] == admitted
    assert len(connections) == sum(admitted)
    connections.left(Peer(addresses[0]))
    assert connections.admit(Peer(addresses[1]))


def test_trusted_proxies_have_no_bound_of_their_own() -> None:
    connections = Connections(Bounds(connections_per_address=1))
    assert all(connections.admit(Peer("192.0.2.1", trusted=True)) for _ in range(3))


def test_a_connection_whose_client_is_named_later() -> None:
    connections = Connections(Bounds(connections=3, connections_per_address=1))
    assert all(connections.admit_unnamed() for _ in range(3)) and not connections.admit_unnamed()
    assert connections.name(Peer("192.0.2.1")) and not connections.name(Peer("192.0.2.1"))
    connections.left(None)
    connections.left(Peer("192.0.2.1"))
    assert len(connections) == 1 and connections.admit(Peer("192.0.2.1"))


async def test_one_that_begins_while_draining_drains_at_once() -> None:
    connections, late = Connections(Bounds()), Speaker("192.0.2.1")
    assert connections.admit(late.peer)
    connections.draining = True
    waiting = asyncio.create_task(connections.all_gone())
    await asyncio.sleep(0)
    assert not waiting.done()
    connections.begin(late)
    assert late.drained
    connections.gone(late)
    await waiting
