"""A worker's silence, counted in ticks of the supervisor."""

from __future__ import annotations

from dataplane.supervisor.liveness import ANSWER_TIMEOUT, START_TIMEOUT, TICK, Liveness


def ticks_until_dead(liveness: Liveness, *, settled: bool = True, heard: bool = False) -> tuple[int, str]:
    """How many ticks it takes, at most a thousand, and the reason."""
    for tick in range(1000):
        if heard:
            liveness.heard()
        if reason := liveness.tick(settled=settled):
            return tick, reason
    return 1000, ""


def test_a_worker_that_falls_silent_is_dead_after_the_timeout() -> None:
    liveness = Liveness(5.0)
    liveness.heard()
    assert ticks_until_dead(liveness) == (5 / TICK, "sent nothing for 5 s")


def test_a_worker_that_speaks_lives() -> None:
    assert ticks_until_dead(Liveness(5.0), heard=True) == (1000, "")


def test_one_frame_starts_the_count_anew() -> None:
    liveness = Liveness(5.0)
    for _ in range(100):
        liveness.heard()
        assert not any(liveness.tick(settled=True) for _ in range(5))


def test_a_process_that_starts_gets_longer() -> None:
    assert ticks_until_dead(Liveness(5.0)) == (START_TIMEOUT / TICK, "sent nothing for 30 s")


def test_a_worker_that_speaks_but_never_answers_is_dead() -> None:
    assert ticks_until_dead(Liveness(5.0), settled=False, heard=True) == (
        ANSWER_TIMEOUT / TICK,
        "no answer for 60 s",
    )


def test_an_answer_starts_that_count_anew() -> None:
    liveness = Liveness(1000.0)
    for settled in [False, True] * 100:
        assert not liveness.tick(settled=settled)
