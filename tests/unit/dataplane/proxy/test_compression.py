"""The work of one turn, and the number of bodies, are bounded over all connections."""

from __future__ import annotations

from collections.abc import Callable

from dataplane.proxy.compression import BUDGET, MOST, SLICE, Compression, Work


class Turns:
    """An event loop's turns, by hand."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def later(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Body(Work):
    """Wants bytes until it has them."""

    def __init__(self, compression: Compression, wanted: int) -> None:
        self.compression = compression
        self.wanted = wanted
        self.got: list[int] = []

    def go_on(self) -> None:
        granted = self.compression.grant(self.wanted)
        self.got.append(granted)
        self.wanted -= granted
        if self.wanted:
            self.compression.wait(self)


def test_a_turn_has_one_budget_for_all_bodies() -> None:
    turns = Turns()
    compression = Compression(turns.later)
    bodies = [Body(compression, 3 * BUDGET) for _ in range(3)]
    for body in bodies:
        body.go_on()
    assert sum(sum(body.got) for body in bodies) == BUDGET
    turns_taken = 1
    while any(body.wanted for body in bodies):
        before = sum(body.wanted for body in bodies)
        turns.end()
        assert before - sum(body.wanted for body in bodies) <= BUDGET
        turns_taken += 1
    assert turns_taken in (9, 10)


def test_bodies_take_turns() -> None:
    turns = Turns()
    compression = Compression(turns.later)
    bodies = [Body(compression, 10 * SLICE) for _ in range(4)]
    for body in bodies:
        body.go_on()
    for _ in range(8):
        turns.end()
    shares = [sum(body.got) for body in bodies]
    assert max(shares) - min(shares) <= 2 * SLICE


def test_without_work_nothing_is_scheduled() -> None:
    turns = Turns()
    compression = Compression(turns.later)
    assert compression.grant(100) == 100
    assert compression.grant(BUDGET) == SLICE and len(turns.soon) == 1
    turns.end()
    assert turns.soon == []
    assert compression.grant(BUDGET) == SLICE


def test_the_number_of_bodies_is_bounded() -> None:
    compression = Compression(lambda callback: None)
    for _ in range(MOST):
        assert not compression.full
        compression.begin("gzip")
    assert compression.full
    compression.end("orders", "gzip", 1000, 100)
    assert not compression.full


def test_bodies_are_counted_by_route_and_coding() -> None:
    compression = Compression(lambda callback: None)
    for route, read, written in (("orders", 1000, 100), ("orders", 500, 100), ("public", 1, 21)):
        compression.begin("gzip")
        compression.end(route, "gzip", read, written)
    assert compression.report() == [("orders", "gzip", 2, 1500, 200), ("public", "gzip", 1, 1, 21)]
    assert compression.report() == []
