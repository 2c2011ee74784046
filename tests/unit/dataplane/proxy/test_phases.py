"""The table of phases: what may follow what."""

from __future__ import annotations

from dataplane.proxy.phases import (
    DECIDING,
    DONE,
    FLUSHING,
    IDLE,
    LINGERING,
    NEXT,
    PHASES,
    READING,
    RECEIVING,
    TUNNELLING,
    WAITING,
)


def test_every_phase_has_a_name_and_a_row() -> None:
    assert set(NEXT) == set(range(len(PHASES)))
    assert all(after <= set(NEXT) for after in NEXT.values())


def test_every_phase_can_be_reached_and_left_for_the_end() -> None:
    reached, new = {IDLE}, {IDLE}
    while new:
        new = set().union(*(NEXT[phase] for phase in new)) - reached
        reached |= new
    assert reached == set(NEXT)
    assert all(DONE in after for phase, after in NEXT.items() if phase != DONE) and not NEXT[DONE]


def test_no_response_is_passed_on_before_the_gateway_has_decided() -> None:
    assert RECEIVING not in NEXT[IDLE] | NEXT[READING] | NEXT[DECIDING]
    assert {phase for phase, after in NEXT.items() if TUNNELLING in after} == {WAITING}


def test_a_connection_that_ends_takes_no_more_requests() -> None:
    assert NEXT[LINGERING] == NEXT[TUNNELLING] == {DONE}
    assert {phase for phase, after in NEXT.items() if DECIDING in after} >= {IDLE, READING, FLUSHING}
