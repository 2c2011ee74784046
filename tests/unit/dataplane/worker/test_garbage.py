"""When garbage is collected."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from dataplane.config.decode import LARGE_CHANGE
from dataplane.worker.garbage import GarbageCollector, limit


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    """Something that only the collector frees."""

    alive = 0

    def __init__(self) -> None:
        self.itself = self
        Node.alive += 1

    def __del__(self) -> None:
        Node.alive -= 1


def make_old_garbage(count: int) -> None:
    nodes = [Node() for _ in range(count)]
    gc.collect(1)
    del nodes


def test_cycles_are_collected_when_there_are_many() -> None:
    collector = GarbageCollector()
    collector.freeze()
    for _ in range(40):
        make_old_garbage(8000)
        collector.tick(idle=True)
    assert Node.alive <= 3 * 8000


def test_also_under_permanent_load() -> None:
    collector = GarbageCollector()
    collector.freeze()
    for _ in range(40):
        make_old_garbage(8000)
        collector.tick(idle=False)
    assert Node.alive <= 150_000


def test_no_full_collection_runs_by_itself() -> None:
    GarbageCollector().freeze()
    before = gc.get_stats()[2]["collections"]
    for _ in range(20):
        make_old_garbage(8000)
    assert gc.get_stats()[2]["collections"] == before


def test_a_large_change_is_frozen_and_a_small_one_is_not() -> None:
    collector = GarbageCollector()
    collector.freeze()
    for parts, frozen in ((LARGE_CHANGE, False), (LARGE_CHANGE + 1, True)):
        before = gc.get_freeze_count()
        for _ in range(parts):
            collector.take_part()
        assert gc.isenabled() is not frozen
        collector.end_change()
        assert (gc.get_freeze_count() > before, gc.isenabled()) == (frozen, True)


def test_a_busy_worker_waits_longer_than_an_idle_one() -> None:
    for left in (0, 10_000, 1_000_000):
        assert left < limit(left, idle=True) < limit(left, idle=False)
