"""A name server that does not answer for some names, and what that does to the others: nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator

import pytest

from dataplane.proxy.descriptors import EXHAUSTED
from dataplane.proxy.lookups import PLACES, SLOW_PLACES, Lookups, ask_system
from dataplane.proxy.targets import ForbiddenAddress
from tests.support.waiting import eventually


class NameServer:
    """Answers at once, but for names that begin with "hole", as long as it is told to be silent."""

    def __init__(self) -> None:
        self.answers: dict[str, str | OSError] = {}
        self.asked: list[str] = []
        self.answering = threading.Event()
        self.waiting = 0

    def __call__(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host.startswith("hole"):
            self.waiting += 1
            self.answering.wait()
            self.waiting -= 1
        answer = self.answers.get(host, "10.0.0.1")
        if isinstance(answer, OSError):
            raise answer
        return (answer,)


def looking(server: NameServer) -> Lookups:
    return Lookups(server, slow=0.05, grace=0.05)


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.answering.set()


async def test_black_holed_names_delay_no_others(server: NameServer) -> None:
    look_up = looking(server)
    holes = [asyncio.create_task(look_up(f"hole{number}")) for number in range(PLACES)]
    await eventually(lambda: server.waiting == PLACES)
    # All places are taken, until those that wait are slow.
    assert await look_up("orders") == ("10.0.0.1",)
    # Whoever is known to be slow does not get the places of others again.
    holes += [asyncio.create_task(look_up(f"hole{number}")) for number in range(PLACES, 1_000)]
    await eventually(lambda: server.waiting >= SLOW_PLACES)
    server.answering.set()
    await asyncio.gather(*holes)
    server.answering.clear()
    holes = [asyncio.create_task(look_up(f"hole{number}")) for number in range(1_000)]
    await asyncio.sleep(0)
    assert await look_up("orders") == ("10.0.0.1",)
    assert server.waiting <= SLOW_PLACES + PLACES
    server.answering.set()
    assert await asyncio.gather(*holes) == [("10.0.0.1",)] * 1_000


async def test_one_look_up_for_many_that_wait(server: NameServer) -> None:
    look_up = looking(server)
    many = [asyncio.create_task(look_up("hole")) for _ in range(100)]
    await eventually(lambda: server.waiting)
    many[0].cancel()
    server.answering.set()
    assert set(await asyncio.gather(*many[1:])) == {("10.0.0.1",)}
    assert server.asked == ["hole"]


async def test_the_last_answer_is_good_while_there_is_no_new_one(server: NameServer) -> None:
    look_up = looking(server)
    server.answering.set()
    assert await look_up("hole") == ("10.0.0.1",)
    server.answering.clear()
    server.answers["hole"] = "10.0.0.2"
    assert await look_up("hole") == ("10.0.0.1",)
    server.answering.set()
    await eventually(lambda: not server.waiting)
    server.answers["hole"] = OSError("no name server")
    assert await look_up("hole") == ("10.0.0.2",)


async def test_a_name_that_is_gone_is_an_answer(server: NameServer) -> None:
    look_up = looking(server)
    await look_up("orders")
    server.answers["orders"] = socket.gaierror(socket.EAI_NONAME, "unknown")
    with pytest.raises(OSError, match="unknown"):
        await look_up("orders")


async def test_a_name_that_moves_to_a_forbidden_address_is_refused(server: NameServer) -> None:
    """The old answer does not cover it up."""
    look_up = looking(server)
    await look_up("orders")
    server.answers["orders"] = "169.254.169.254"
    for _ in range(2):
        with pytest.raises(ForbiddenAddress):
            await look_up("orders")


async def test_a_fault_of_the_resolver_is_an_error_of_the_look_up() -> None:
    with pytest.raises(OSError):
        await Lookups()("a" * 300 + ".example")


async def test_a_fault_of_ours_takes_no_place_for_ever() -> None:
    def broken(host: str) -> tuple[str, ...]:
        raise RuntimeError("a fault")

    look_up = Lookups(broken)
    for number in range(2 * PLACES):
        with pytest.raises(OSError, match="a fault"):
            await look_up(f"n{number}")


async def test_without_threads_it_is_we_who_lack_something(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    look_up = looking(server)
    found = await asyncio.gather(*(look_up(f"n{number}") for number in range(5_000)), return_exceptions=True)
    assert {error.errno for error in found if isinstance(error, OSError)} == {errno.ENOMEM}


def test_without_descriptors_it_is_we_who_lack_something() -> None:
    """The system's resolver says "try again" then, as where a name server does not answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    try:
        ask_system("localhost")
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with pytest.raises(OSError) as filled:
            while True:
                held.append(os.dup(2))
        assert filled.value.errno == errno.EMFILE
        with pytest.raises(OSError) as refused:
            ask_system("orders.example.invalid")
        assert refused.value.errno in EXHAUSTED
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
