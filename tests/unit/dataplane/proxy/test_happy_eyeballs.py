"""Which of several addresses is connected to, and what becomes of the other attempts."""

from __future__ import annotations

import asyncio
import errno

import pytest

from dataplane.proxy.happy_eyeballs import connect_first
from tests.support.waiting import eventually

REFUSED = OSError(errno.ECONNREFUSED, "refused")
NO_FAMILY = OSError(errno.EADDRNOTAVAIL, "no such family here")
AT_ONCE, LATER = 0.0, 3_600.0


class Network:
    """Addresses that accept, refuse or say nothing."""

    def __init__(self, **answers: OSError | None) -> None:
        self.answers = answers
        """None: it accepts. One that is not here never answers."""
        self.tried: list[str] = []
        self.given_up: list[str] = []
        self.ended: list[str] = []

    async def connect(self, address: str) -> str:
        self.tried.append(address)
        try:
            if address not in self.answers:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up.append(address)
            raise
        if (error := self.answers[address]) is not None:
            raise error
        return f"to {address}"

    async def first(self, *addresses: str, delay: float = LATER) -> str:
        try:
            return await connect_first(addresses, self.connect, self.ended.append, delay)
        finally:
            await asyncio.sleep(0)


async def test_the_first_that_accepts_is_used_and_no_other_is_tried() -> None:
    network = Network(a=None, b=None)
    assert await network.first("a", "b") == "to a"
    assert network.tried == ["a"]


async def test_a_refusal_is_followed_by_the_next_at_once() -> None:
    network = Network(a=REFUSED, b=None)
    assert await network.first("a", "b") == "to b"


async def test_one_that_says_nothing_is_not_waited_for_and_given_up() -> None:
    network = Network(b=None, c=None)
    assert await network.first("a", "b", "c", delay=AT_ONCE) == "to b"
    assert (network.tried, network.given_up) == (["a", "b"], ["a"])


async def test_a_silent_one_may_answer_after_all() -> None:
    silent = asyncio.Event()

    async def connect(address: str) -> str:
        if address == "a":
            await silent.wait()
            return address
        silent.set()
        await asyncio.Event().wait()
        return address

    assert await connect_first(("a", "b"), connect, lambda _: None, AT_ONCE) == "a"


async def test_what_connected_besides_is_ended() -> None:
    gate, ended = asyncio.Event(), list[str]()

    async def connect(address: str) -> str:
        if address == "b":
            gate.set()
        await gate.wait()
        return address

    assert await connect_first(("a", "b"), connect, ended.append, AT_ONCE) == "a"
    await asyncio.sleep(0)
    assert ended == ["b"]


@pytest.mark.parametrize("answers", [{"a": NO_FAMILY, "b": REFUSED}, {"a": REFUSED, "b": NO_FAMILY}])
async def test_what_is_said_of_the_instance_is_told_rather_than_what_we_lack(
    answers: dict[str, OSError],
) -> None:
    with pytest.raises(OSError, match="refused"):
        await Network(**answers).first("a", "b")


async def test_a_family_that_we_have_not_is_no_reason_to_give_up() -> None:
    assert await Network(a=NO_FAMILY, b=None).first("a", "b") == "to b"


async def test_who_waits_no_longer_ends_all_attempts() -> None:
    network = Network()
    task = asyncio.create_task(network.first("a", "b", delay=AT_ONCE))
    await eventually(lambda: len(network.tried) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert network.given_up == ["a", "b"]
