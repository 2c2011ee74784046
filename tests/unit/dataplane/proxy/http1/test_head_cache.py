"""Heads that come again: found while they are in use, bounded, and not looked for where nothing repeats."""

from __future__ import annotations

from dataplane.proxy.http1.head_cache import ENTRIES, HeadCache, LookupCredit


def test_a_reading_is_found_by_its_bytes() -> None:
    memory: HeadCache[str] = HeadCache()
    memory.put(b"head", "reading")
    assert memory.get(b"head") == "reading"
    assert memory.get(b"Head") is None


def test_one_of_eight_new_heads_is_learnt() -> None:
    memory: HeadCache[str] = HeadCache()
    assert [memory.admit() for _ in range(17)] == [n % 8 == 0 for n in range(17)]


def test_what_is_in_use_outlives_what_is_not() -> None:
    memory: HeadCache[int] = HeadCache()
    memory.put(b"used", -1)
    memory.put(b"unused", -2)
    for number in range(3 * ENTRIES):
        memory.put(b"%d" % number, number)
        assert memory.get(b"used") == -1
    assert memory.get(b"unused") is None


def test_two_generations_are_the_bound() -> None:
    memory: HeadCache[int] = HeadCache()
    for number in range(5 * ENTRIES):
        memory.put(b"%d" % number, number)
    found = [number for number in range(5 * ENTRIES) if memory._younger.get(b"%d" % number) is not None]
    found += [number for number in range(5 * ENTRIES) if memory._elder.get(b"%d" % number) is not None]
    assert len(found) == 2 * ENTRIES and min(found) == 3 * ENTRIES


def test_out_of_luck_one_of_32_is_tried() -> None:
    luck = LookupCredit()
    for _ in range(16):
        assert luck.allows()
        luck.miss()
    assert [luck.allows() for _ in range(64)] == [n % 32 == 31 for n in range(64)]


def test_a_find_pays_for_two_misses() -> None:
    luck = LookupCredit()
    for _ in range(1000):
        luck.hit()
        luck.miss()
        luck.miss()
    assert luck.allows()
    luck.hit()
    for _ in range(66):
        luck.miss()
    assert not luck.allows()
