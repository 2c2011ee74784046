"""The commands that count in Redis, as they are sent. What the scripts compute is tested on a real Redis."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from dataplane.gateway.policy.window import MOST_MEMBERS, Answer, Naming, Window, command, reset


def limit(burst: int, per_second: float = 1.0, **fields: Any) -> Limit:
    return Limit("l", per_second, burst, LimitKey.SUBJECT, mode=LimitMode.REDIS, **fields)


def words(sent: bytes) -> list[bytes]:
    """The words of one command, whose lengths are right."""
    assert sent.startswith(b"*")
    count, _, rest = sent[1:].partition(b"\r\n")
    found = []
    for _ in range(int(count)):
        length, _, rest = rest[1:].partition(b"\r\n")
        word, end, rest = rest[: int(length)], rest[int(length) : int(length) + 2], rest[int(length) + 2 :]
        assert end == b"\r\n"
        found.append(word)
    assert not rest
    return found


def test_names() -> None:
    assert Naming().name("callers", "alice") == b"rate_limit:callers:alice"
    assert Naming("shop:").name("callers", "2001:db8::/64") == b"shop:rate_limit:callers:2001:db8::/64"
    assert Naming(cluster=True).name("callers", "a{b}c") == b"rate_limit:{callers:a{b}c}"
    assert Naming().name("callers", "é\udce9") == b"rate_limit:callers:\xc3\xa9\xed\xb3\xa9"


def test_a_window_by_members() -> None:
    window = Window(limit(10, 4.0, cost=3), Naming())
    assert (window.by_members, window.seconds) == (True, 2.5)
    name = window.name("alice")
    assert words(window.take(name, b"id1"))[2:] == [b"1", name, b"2500000", b"10", b"3", b"id1"]
    back = words(window.give_back(name, b"id1", 3, 3, 0))
    assert back == [b"ZREM", name, b"id1:1", b"id1:2", b"id1:3"]
    single = Window(limit(10), Naming())
    assert words(single.give_back(name, b"id1", 1, 1, 0)) == [b"ZREM", name, b"id1"]


@pytest.mark.parametrize(
    "which", [limit(MOST_MEMBERS + 1, 1.0, cost=7), limit(100, 0.05, cost=7, cost_header="x-cost")]
)
def test_a_window_by_slots(which: Limit) -> None:
    window = Window(which, Naming())
    assert not window.by_members
    name = window.name("alice")
    size = b"%d" % round(window.seconds * 1e4)
    burst = b"%d" % which.burst
    assert words(window.take(name, b"id1"))[2:] == [b"1", name, size, burst, b"7"]
    assert words(window.charge(name, 50))[2:] == [b"1", name, size, burst, b"50"]
    assert words(window.give_back(name, b"id1", 7, 5, 1234))[2:] == [b"1", name, size, burst, b"5", b"1234"]


def test_a_window_is_never_shorter_than_the_rate_says() -> None:
    third = Window(limit(1, 3.0), Naming())
    assert words(third.take(b"n", b"i"))[4] == b"333334"


def test_commands_and_answers() -> None:
    assert command(b"PING") == b"*1\r\n$4\r\nPING\r\n"
    assert words(reset(b"n\r\n", 7))[2:] == [b"2", b"n\r\n", b"n\r\n:reset:7", b"300"]
    answer = Answer([1_500_000, 3, 60_000_000, 9])
    assert (answer.wait, answer.remaining, answer.full_in, answer.slot) == (1.5, 3, 60.0, 9)
    for wrong in ([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, None, 4], b"1234", None):
        with pytest.raises((TypeError, ValueError)):
            Answer(wrong)
