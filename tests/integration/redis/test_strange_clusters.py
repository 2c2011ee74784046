"""A Cluster whose nodes say what real ones say only for a moment, or by another configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from dataplane.gateway.policy.window import command
from dataplane.redis.discovery import SLOTS
from dataplane.redis.options import RedisOptions
from dataplane.redis.store import Cluster, slot_of
from tests.support.scripted_redis import ScriptedRedis, Words, scripted, usual
from tests.support.waiting import eventually

NAME = b"rate_limit:{l:alice}"


class Take:
    """Asks for something of alice's."""

    def __init__(self) -> None:
        self.name = NAME
        self.command = command(b"EVALSHA", b"sha", b"1", NAME)
        self.heard: object = None

    def answered(self, reply: object, now: float) -> None:
        self.heard = reply

    def failed(self, now: float) -> None:
        self.heard = "failed"

    def late(self, reply: object, now: float) -> None:
        pass


class Seen:
    """A store, and the outages that began."""

    def __init__(self, port: int, timeout: float) -> None:
        self.outages = 0
        self._away = False
        self.store = Cluster(
            RedisOptions((("127.0.0.1", port),), cluster=True, timeout=timeout), self._changed
        )
        self.store.want(["l"])

    def _changed(self) -> None:
        away = self.store.outage() is not None
        self.outages += away and not self._away
        self._away = away

    async def ask(self) -> object:
        """What is answered, as soon as anything is asked."""
        take = Take()
        await eventually(lambda: self.store.ask(take, monotonic()))
        return await eventually(lambda: take.heard)


@asynccontextmanager
async def seen(redis: ScriptedRedis, timeout: float = 5.0) -> AsyncIterator[Seen]:
    made = Seen(redis.port, timeout)
    try:
        yield made
    finally:
        made.store.close()


def slots(*ranges: tuple[int, int, str, int]) -> bytes:
    """A reply to CLUSTER SLOTS."""
    each = [
        b"*3\r\n:%d\r\n:%d\r\n*2\r\n$%d\r\n%b\r\n:%d\r\n" % (first, last, len(host), host.encode(), port)
        for first, last, host, port in ranges
    ]
    return b"*%d\r\n%b" % (len(each), b"".join(each))


async def test_a_node_that_does_not_know_its_own_address_is_where_it_was_asked() -> None:
    """As one alone, or with `cluster-preferred-endpoint-type unknown-endpoint`."""

    def script(words: Words) -> bytes | None:
        if words[0] == b"CLUSTER":
            return slots((0, SLOTS - 1, "", redis.port))
        return usual(words)

    async with scripted(script) as redis, seen(redis) as made:
        assert await made.ask() == [0, 4, 60_000_000, 7]


async def test_a_move_without_an_address_is_to_the_same_host() -> None:
    def source(words: Words) -> bytes | None:
        if words[0] == b"CLUSTER":
            return slots((0, SLOTS - 2, "127.0.0.1", one.port), (SLOTS - 1, SLOTS - 1, "", other.port))
        if NAME in words:
            return b"-MOVED %d :%d\r\n" % (slot_of(NAME), other.port)
        return usual(words)

    async with scripted(source) as one, scripted() as other, seen(one) as made:
        await made.ask()
        await eventually(lambda: any(NAME in words for words in other.heard))


async def test_slots_that_nobody_has_are_an_outage_until_somebody_has_them() -> None:
    whole = False

    def script(words: Words) -> bytes | None:
        if words[0] == b"CLUSTER":
            last = SLOTS - 1 if whole else slot_of(NAME) - 1
            return slots((0, last, "127.0.0.1", redis.port))
        return usual(words)

    async with scripted(script) as redis, seen(redis) as made:
        outage = await eventually(made.store.outage)
        assert outage is not None
        assert outage.reason == f"no node of the Cluster serves {SLOTS - slot_of(NAME)} of the slots"
        assert not made.store.ask(Take(), monotonic())
        whole = True
        assert await made.ask() == [0, 4, 60_000_000, 7]
        await eventually(lambda: made.store.outage() is None)
        assert made.outages == 1


async def test_a_cluster_that_is_down_is_one_outage() -> None:
    """Its nodes answer PING."""

    def script(words: Words) -> bytes | None:
        if words[0] == b"CLUSTER":
            return slots((0, SLOTS - 1, "127.0.0.1", redis.port))
        if words[0] == b"EVALSHA" and down:
            return b"-CLUSTERDOWN The cluster is down\r\n"
        return usual(words)

    down = False
    async with scripted(script) as redis, seen(redis) as made:
        await made.ask()
        down = True
        tries = redis.connections + 5
        while redis.connections < tries:
            await made.ask() if made.store.outage() is None else await eventually(
                lambda: redis.connections >= tries
            )
        assert made.outages == 1
        assert "CLUSTERDOWN" in (await eventually(made.store.outage)).reason  # type: ignore[union-attr]
        down = False
        assert await made.ask() == [0, 4, 60_000_000, 7]


async def test_nodes_that_send_each_other_the_question_are_given_up_in_time() -> None:
    def script(me: int) -> Callable[[Words], bytes | None]:
        def said(words: Words) -> bytes | None:
            if words[0] == b"CLUSTER":
                half = SLOTS // 2
                return slots(
                    (0, half - 1, "127.0.0.1", nodes[0].port), (half, SLOTS - 1, "127.0.0.1", nodes[1].port)
                )
            if NAME in words:
                return b"-MOVED %d 127.0.0.1:%d\r\n" % (slot_of(NAME), nodes[1 - me].port)
            return usual(words)

        return said

    nodes: list[ScriptedRedis] = []
    async with scripted(script(0)) as one, scripted(script(1)) as two:
        nodes += one, two
        async with seen(one, timeout=0.5) as made:
            # Both are connected.
            await eventually(lambda: [words for words in one.heard if words[0] == b"EVALSHA"])
            await eventually(lambda: [words for words in two.heard if words[0] == b"EVALSHA"])
            await eventually(lambda: made.store.outage() is None)

            async def went_back_and_forth() -> bool:
                before = len(one.heard)
                assert await made.ask() == "failed"
                return sum(NAME in words for words in one.heard[before:]) > 1

            await eventually(went_back_and_forth)
