from __future__ import annotations

from collections import Counter

from controlplane.limits.partitions import COUNT, candidates, partition_of


def test_a_limit_is_always_in_the_same_partition() -> None:
    # Control planes of different versions must agree.
    assert [partition_of(name) for name in ("callers", "trial", "ü")] == [43, 12, 52]
    assert {partition_of(f"limit-{number}") for number in range(1000)} == set(range(COUNT))


def test_members_share_the_partitions() -> None:
    first = Counter(candidates(one, ["a", "b", "c"])[0] for one in range(COUNT))
    assert set(first) == {"a", "b", "c"} and min(first.values()) > COUNT / 6


def test_a_member_that_goes_moves_its_own_partitions_only() -> None:
    for partition in range(COUNT):
        before = candidates(partition, ["a", "b", "c"])
        assert candidates(partition, {"c", "a"}) == [one for one in before if one != "b"]
    assert candidates(1, []) == []
