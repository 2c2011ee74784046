"""The connection to one Redis: what one turn asks goes out in one write, and an answer that is late is nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast

import pytest

from dataplane.gateway.policy.window import command
from dataplane.gateway.store import Question
from dataplane.redis import link
from dataplane.redis.link import STEADY
from dataplane.redis.options import Address, RedisOptions
from dataplane.redis.store import Single, slot_of
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually


class Echo:
    """Asks Redis to say a word."""

    def __init__(self, word: bytes, then: Callable[[], None] = lambda: None) -> None:
        self.name = word
        self.command = command(b"ECHO", word)
        self.heard: object = None
        self.came_late = False
        self._then = then

    def answered(self, reply: object, now: float) -> None:
        assert self.heard is None
        self.heard = reply
        self._then()

    def failed(self, now: float) -> None:
        assert self.heard is None
        self.heard = "failed"
        self._then()

    def late(self, reply: object, now: float) -> None:
        assert (self.heard, reply) == ("failed", self.name)
        self.came_late = True


class Shop:
    """A store in use."""

    def __init__(self, port: int, timeout: float) -> None:
        self.outages = 0
        self.store = Single(RedisOptions((("127.0.0.1", port),), timeout=timeout), self._changed)
        self.store.want(["l"])

    def _changed(self) -> None:
        self.outages += self.store.outage() is not None

    def ask(self, question: Question) -> bool:
        return self.store.ask(question, monotonic())

    async def heard(self, word: bytes) -> object:
        """What is answered."""
        question = Echo(word)
        assert self.ask(question)
        return await eventually(lambda: question.heard)

    async def answers(self, word: bytes) -> bool:
        """Whether there is an answer in time; then it is the right one."""
        question = Echo(word)
        if not self.ask(question):
            return False
        heard = await eventually(lambda: question.heard)
        assert heard in (word, "failed")
        return heard == word


@asynccontextmanager
async def shop(port: int, timeout: float = 5.0) -> AsyncIterator[Shop]:
    made = Shop(port, timeout)
    try:
        yield made
    finally:
        made.store.close()
        await asyncio.sleep(0)


async def test_what_is_asked_before_the_first_connection_waits_for_it(server: RedisServer) -> None:
    async with shop(server.port) as made:
        assert await made.heard(b"hello") == b"hello"
        assert made.outages == 0


async def test_everything_of_one_turn_goes_out_at_once(server: RedisServer) -> None:
    async with shop(server.port) as made:
        await made.heard(b"up")
        connection = cast(Any, made.store)._link._connection
        writes: list[bytes] = []
        real, connection.transport = connection.transport, cast(Any, Recorder(connection.transport, writes))
        questions = [Echo(b"%d" % number) for number in range(200)]
        for question in questions:
            made.ask(question)
        assert writes == []
        await eventually(lambda: all(question.heard is not None for question in questions))
        connection.transport = real
        assert len(writes) == 1
        assert [question.heard for question in questions] == [question.name for question in questions]


class Recorder:
    """A transport that remembers its writes."""

    def __init__(self, real: asyncio.Transport, writes: list[bytes]) -> None:
        self._real = real
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._real.write(data)

    def abort(self) -> None:
        self._real.abort()


async def test_an_answer_that_is_late_is_nobodys(server: RedisServer) -> None:
    async with Proxy(server.port) as way, shop(way.port, timeout=0.3) as made:
        await eventually(lambda: made.answers(b"before"))
        way.holding = True
        question = Echo(b"late")
        assert made.ask(question)
        assert await eventually(lambda: question.heard) == "failed"
        way.holding = False
        await eventually(lambda: made.answers(b"next"))
        assert question.came_late


async def test_a_redis_that_hangs_is_asked_no_more_until_it_answers(own_server: RedisServer) -> None:
    async with shop(own_server.port, timeout=0.2) as made:
        await eventually(lambda: made.answers(b"up"))
        own_server.freeze()
        try:
            asked: list[Echo] = []

            def is_away() -> bool:
                question = Echo(b"x")
                if made.ask(question):
                    asked.append(question)
                return made.store.outage() is not None

            await eventually(is_away)
            assert not made.ask(Echo(b"y"))
            await eventually(lambda: all(question.heard == "failed" for question in asked))
            assert made.outages
        finally:
            own_server.thaw()
        await eventually(lambda: made.answers(b"again"))


async def test_who_is_told_of_a_loss_may_ask_again(own_server: RedisServer) -> None:
    async with shop(own_server.port) as made:
        assert await made.heard(b"up") == b"up"
        more = Echo(b"more")

        def ask_again() -> None:
            if not made.ask(more):
                more.failed(0.0)

        question = Echo(b"x", ask_again)
        own_server.freeze()
        made.ask(question)
        # The write is out, and not answered, when it dies.
        await asyncio.sleep(0)
        own_server.kill()
        await eventually(lambda: more.heard == "failed")
        assert question.heard == "failed"
        await eventually(lambda: made.store.outage() is not None)


async def test_an_idle_connection_that_redis_closes_is_no_outage(server: RedisServer) -> None:
    async with shop(server.port) as made:
        assert await made.heard(b"up") == b"up"
        link = cast(Any, made.store)._link
        # As if it had been up for long.
        link._up_since = monotonic() - STEADY - 1
        before = link._connection
        server.cli("client", "kill", "type", "normal", "skipme", "yes")
        await eventually(lambda: link._connection not in (None, before))
        assert await made.heard(b"again") == b"again"
        assert made.outages == 0


async def test_a_server_that_closes_every_connection_is_away(server: RedisServer) -> None:
    async with shop(server.port) as made:
        await eventually(lambda: made.answers(b"up"))
        # At once after the last one: nobody may have been up for a second.
        await eventually(
            lambda: server.cli("client", "kill", "type", "normal", "skipme", "yes") and made.outages
        )
        await eventually(lambda: made.answers(b"again"))


async def test_nobody_asks_a_redis_that_no_limit_needs(server: RedisServer) -> None:
    async with shop(server.port) as made:
        assert await made.heard(b"up") == b"up"
        made.store.want([])
        assert not made.ask(Echo(b"x"))
        made.store.want(["l"])
        assert await made.heard(b"again") == b"again"


async def test_a_user_without_a_password_is_named_all_the_same(own_server: RedisServer) -> None:
    assert own_server.cli("acl", "setuser", "gate", "on", "nopass", "~*", "+@all") == "OK"
    assert own_server.cli("acl", "setuser", "default", "off") == "OK"
    store = Single(RedisOptions((("127.0.0.1", own_server.port),), user="gate", timeout=5.0), lambda: None)
    store.want(["l"])
    question = Echo(b"hello")
    await eventually(lambda: store.ask(question, monotonic()))
    assert await eventually(lambda: question.heard) == b"hello"
    store.close()


def test_slots_are_those_of_redis(server: RedisServer) -> None:
    """The examples of the Redis Cluster specification."""
    assert slot_of(b"123456789") == 0x31C3 % 16384
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers") == slot_of(b"user1000")
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")
    assert slot_of(b"foo{bar}{zap}") == slot_of(b"bar")


def test_addresses_are_plain() -> None:
    address: Address = ("h", 1)
    assert RedisOptions.from_json(RedisOptions((address,)).to_json()) == RedisOptions((address,))


async def test_a_key_that_the_acl_refuses_is_named_and_others_are_answered(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "REFUSED_FOR", 0.02)
    allowed = ["~rate_limit:", "~rate_limit:callers:*"]
    assert own_server.cli("acl", "setuser", "default", "resetkeys", *allowed) == "OK"
    async with shop(own_server.port) as made:
        assert await made.heard(b"up") == b"up"
        other = Echo(b"")
        other.command = command(b"ZCARD", b"rate_limit:others:ann")
        assert made.ask(other)
        assert await eventually(lambda: other.heard) == "failed"
        refusal = made.store.refusal()
        assert made.store.outage() is None
        assert refusal is not None
        assert refusal.lacks == "~rate_limit:*"
        assert await made.heard(b"still") == b"still"
        await eventually(lambda: made.store.refusal() is None)
        assert made.outages == 0


async def test_an_acl_without_a_command_is_an_outage_that_names_it(own_server: RedisServer) -> None:
    assert own_server.cli("acl", "setuser", "default", "-evalsha") == "OK"
    async with shop(own_server.port) as made:
        outage = await eventually(made.store.outage)
        assert outage is not None
        assert outage.lacks == "+evalsha"
