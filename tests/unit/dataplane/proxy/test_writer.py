"""What is written when: at the end of a turn, in order, in one piece; at once where it is much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dataplane.proxy.writer import JOINED, Outgoing, Turn


class Wire(asyncio.Transport):
    """Remembers what was done with it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[object] = []

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.done.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.done.append(list(list_of_data))

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


class Loop:
    """Keeps what is to be called at the end of a turn."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def end_turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def turn(loop: Loop) -> Turn:
    return Turn(lambda call: loop.calls.append(call))


def test_a_turn_is_written_in_one_piece_at_its_end(loop: Loop, turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"head")
    outgoing.writelines([b" and", b" body"], 5)
    assert not wire.done
    loop.end_turn()
    assert wire.done == [b"head and body"]


def test_connections_are_written_in_the_order_of_their_first_words(loop: Loop, turn: Turn) -> None:
    wire = Wire()
    first, second = Outgoing(wire, turn), Outgoing(wire, turn)
    first.write(b"1")
    second.write(b"2")
    first.write(b"3")
    loop.end_turn()
    assert wire.done == [b"13", b"2"]


def test_each_turn_is_asked_for_once_and_ends_anew(loop: Loop, turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"a")
    outgoing.write(b"b")
    assert len(loop.calls) == 1
    loop.end_turn()
    outgoing.write(b"c")
    assert len(loop.calls) == 1
    loop.end_turn()
    assert wire.done == [b"ab", b"c"]


@pytest.mark.parametrize("much", [b"x" * (JOINED + 1), b"x" * JOINED])
def test_much_is_written_at_once_after_what_came_before(turn: Turn, much: bytes) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"head")
    outgoing.write(much)
    assert wire.done == [b"head", much]


def test_many_pieces_are_written_at_once_and_not_joined(turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"head")
    pieces = [b"x" * JOINED, b"y"]
    outgoing.writelines(pieces, JOINED + 1)
    assert wire.done == [b"head", pieces]


def test_little_by_little_no_more_is_kept_than_is_joined(turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    for _ in range(100):
        outgoing.write(b"x" * 1000)
    assert len(b"".join(done for done in wire.done if isinstance(done, bytes))) >= 100_000 - JOINED


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_an_orderly_end_comes_after_the_last_words(loop: Loop, turn: Turn, end: str) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"last words")
    getattr(outgoing, end)()
    loop.end_turn()
    assert wire.done == [b"last words", end.removeprefix("write_")]


def test_an_abort_takes_unwritten_words_along(loop: Loop, turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"never said")
    outgoing.abort()
    loop.end_turn()
    assert wire.done == ["abort"]


def test_nothing_is_written_to_a_connection_that_is_gone(loop: Loop, turn: Turn) -> None:
    wire = Wire()
    outgoing = Outgoing(wire, turn)
    outgoing.write(b"too late")
    outgoing.drop()
    loop.end_turn()
    assert not wire.done


class Broken(Wire):
    """Cannot be written to."""

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        raise RuntimeError("closed below")


def test_a_connection_that_cannot_be_written_to_ends_alone() -> None:
    later: list[Callable[[], None]] = []
    turn = Turn(later.append)
    broken, sound = Broken(), Wire()
    Outgoing(broken, turn).write(b"a")
    Outgoing(sound, turn).write(b"b")
    for callback in later:
        callback()
    assert broken.done == ["abort"] and sound.done == [b"b"]
