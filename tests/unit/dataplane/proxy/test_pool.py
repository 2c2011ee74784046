"""Which upstream connections are kept, and for how long."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.resources import Instance
from dataplane.proxy import pool as pools
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.pool import Endpoint, Pool


class Connection(pools.Connection):
    """One that only remembers whether it was closed."""

    def __init__(self, address: str = "", expires: float = 1e9) -> None:
        self.address, self.expires = address, expires
        self.idle_since = 0.0
        self.closed = False

    def close(self) -> None:
        self.closed = True


ONE = Instance("s", "1", "127.0.0.1", 81)
TWO = Instance("s", "2", "127.0.0.1", 82)
BOUNDS = Bounds(pool_idle=2, pool_timeout=10.0)


def test_the_latest_used_is_reused_first() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    first, second = Connection(), Connection()
    assert endpoint.give(first, 1.0) and endpoint.give(second, 2.0)
    assert endpoint.idle.pop() is second and (first.idle_since, second.idle_since) == (1.0, 2.0)


def test_there_is_room_for_so_many() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    assert [endpoint.give(Connection(), 0.0) for _ in range(3)] == [True, True, False]


def test_old_ones_are_taken_out() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    old, young = Connection(), Connection()
    endpoint.give(old, 1.0)
    endpoint.give(young, 5.0)
    assert endpoint.expired(11.0) == [] and endpoint.expired(12.0) == [old] and endpoint.idle == [young]


def test_none_is_used_beyond_its_age_however_busy() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    connection = Connection(expires=8.0)
    assert endpoint.give(connection, 7.0) and endpoint.expired(7.9) == []
    assert endpoint.expired(8.0) == [connection] and not endpoint.idle
    assert not endpoint.give(connection, 8.0)


def test_connections_to_an_address_that_the_host_has_lost_are_not_used_again() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    assert endpoint.move(("10.0.0.1", "10.0.0.2")) == []
    idle, busy, fine = Connection("10.0.0.1"), Connection("10.0.0.1"), Connection("10.0.0.2")
    assert endpoint.give(idle, 0.0) and endpoint.give(fine, 0.0)
    assert endpoint.move(("10.0.0.2", "10.0.0.3")) == [idle] and endpoint.idle == [fine]
    assert not endpoint.give(busy, 1.0)


def test_one_that_ended_is_forgotten() -> None:
    endpoint = Endpoint(ONE, BOUNDS)
    connection = Connection()
    endpoint.give(connection, 0.0)
    endpoint.forget(connection)
    endpoint.forget(connection)
    assert endpoint.idle == []


@pytest.mark.parametrize(
    ("host", "authority"),
    [("127.0.0.1", b"127.0.0.1:81"), ("::1", b"[::1]:81"), ("a.example", b"a.example:81")],
)
def test_authorities(host: str, authority: bytes) -> None:
    assert Endpoint(Instance("s", "1", host, 81), BOUNDS).authority == authority


def test_connections_survive_a_new_table() -> None:
    pool = Pool(BOUNDS)
    pool.change("s", [ONE, TWO])
    endpoint, connection = pool.endpoint(ONE), Connection()
    endpoint.give(connection, 0.0)
    heavier = Instance("s", "1", "127.0.0.1", 81, weight=5)
    pool.change("s", [heavier])
    assert pool.endpoint(heavier) is endpoint and endpoint.weight == 5
    assert not connection.closed and endpoint.idle == [connection]
    with pytest.raises(KeyError):
        pool.endpoint(TWO)


@pytest.mark.parametrize(
    "after", [[], [Instance("s", "1", "127.0.0.1", 99)], [Instance("s", "9", "127.0.0.1", 81)]]
)
def test_connections_of_what_is_gone_are_closed(after: list[Instance]) -> None:
    pool = Pool(BOUNDS)
    pool.change("s", [ONE])
    endpoint, idle, busy = pool.endpoint(ONE), Connection(), Connection()
    endpoint.give(idle, 0.0)
    pool.change("s", after)
    assert idle.closed and endpoint.idle == []
    # One that was busy meanwhile is not taken back.
    assert not endpoint.give(busy, 0.0)


def test_sweeping() -> None:
    pool = Pool(BOUNDS)
    pool.change("s", [ONE, TWO])
    old, young = Connection(), Connection()
    pool.endpoint(ONE).give(old, 0.0)
    pool.endpoint(TWO).give(young, 9.0)
    pool.sweep(15.0)
    assert old.closed and not young.closed
    pool.close()
    assert young.closed
