"""How long a data plane waits before it tries a control plane again."""

from __future__ import annotations

from dataplane.config.stream import Backoff


def test_it_doubles_up_to_a_second() -> None:
    backoff = Backoff(random=lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_it_is_jittered_down_to_half() -> None:
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.next() for _ in range(6)] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


def test_a_success_starts_it_anew() -> None:
    backoff = Backoff(random=lambda: 1.0)
    for _ in range(4):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 0.1
