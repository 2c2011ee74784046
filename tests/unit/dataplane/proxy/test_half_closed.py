"""Who has ended its side: answered while it may be there, and told of once when it is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dataplane.proxy.half_closed import HalfClosed


def exchange(**client: Any) -> Any:
    """As far as it is looked at."""
    told = {"is_reset": lambda: False, "write_paused": False, "current": None, **client}
    return cast(Any, Exchange(SimpleNamespace(**told)))


class Exchange:
    def __init__(self, client: SimpleNamespace) -> None:
        self.client = client
        self.ended, self.sent, self.status = 0.0, 0, 0


def watching(*exchanges: Any) -> HalfClosed:
    half_closed = HalfClosed(0.25)
    for each in exchanges:
        half_closed.watch(each, 100.0)
    return half_closed


def test_who_is_sent_nothing_is_gone_in_time_and_once() -> None:
    waiting = exchange()
    half_closed = watching(waiting)
    assert half_closed.gone(100.2) == [] and len(half_closed) == 1
    assert half_closed.gone(100.3) == [waiting] and len(half_closed) == 0
    assert half_closed.gone(200.0) == []


def test_who_takes_what_is_sent_is_there() -> None:
    served = exchange()
    half_closed = watching(served)
    served.status, served.sent = 200, 10
    assert half_closed.gone(100.3) == [] and len(half_closed) == 1
    assert half_closed.gone(100.6) == [] and len(half_closed) == 0


def test_who_resets_is_gone() -> None:
    for at in (100.3, 100.6):
        left = exchange()
        half_closed = watching(left)
        left.status = 200
        if at > 100.3:
            assert half_closed.gone(100.3) == []
        left.client.is_reset = lambda: True
        assert half_closed.gone(at) == [left] and len(half_closed) == 0


def test_who_reads_slowly_is_there() -> None:
    slow = exchange(write_paused=True)
    half_closed = watching(slow)
    assert half_closed.gone(100.3) == [] and half_closed.gone(100.6) == [] and not half_closed


def test_what_has_ended_is_forgotten_and_the_next_in_line_is_watched() -> None:
    following = exchange()
    first = exchange(current=following)
    half_closed = watching(first)
    first.ended = 100.1
    assert half_closed.gone(100.1) == [] and len(half_closed) == 1
    assert half_closed.gone(100.3) == []
    assert half_closed.gone(100.4) == [following] and not half_closed
