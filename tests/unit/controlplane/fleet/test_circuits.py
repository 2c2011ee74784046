"""Breakers by service: what has something to tell, and no more."""

from __future__ import annotations

from controlplane.fleet.circuits import Circuits
from controlplane.fleet.reports import CircuitReport, CircuitState

IDLE = CircuitReport("idle")
BUSY = CircuitReport("busy", total_requests=5)
OPEN = CircuitReport("open", CircuitState.OPEN, 9.0, 5, 5)


def test_a_breaker_with_nothing_to_tell_is_not_kept() -> None:
    circuits = Circuits()
    assert circuits.take("gw-1", [IDLE, BUSY, OPEN], changes=False) == ({"busy", "open"}, True)
    assert circuits.found == {"busy": {"gw-1": BUSY}, "open": {"gw-1": OPEN}}


def test_changes_leave_the_others_as_they_are() -> None:
    circuits = Circuits()
    circuits.take("gw-1", [BUSY, OPEN], changes=False)
    closed = CircuitReport("open", CircuitState.CLOSED, 10.0, 6, 5)
    assert circuits.take("gw-1", [closed], changes=True) == ({"open"}, True)
    assert circuits.of("busy") == {"gw-1": BUSY}
    assert circuits.take("gw-1", [closed], changes=True) == (set(), False)
    assert circuits.take("gw-1", [closed], changes=False) == ({"busy"}, False)


def test_details_go_when_nobody_looks_and_open_circuits_stay() -> None:
    circuits = Circuits()
    circuits.take("gw-1", [BUSY, OPEN], changes=False)
    circuits.drop_details()
    assert circuits.found == {"open": {"gw-1": OPEN}}


def test_one_that_is_forgotten_takes_its_breakers_along() -> None:
    circuits = Circuits()
    circuits.take("gw-1", [BUSY], changes=False)
    circuits.take("gw-2", [BUSY, OPEN], changes=False)
    assert circuits.drop("gw-2") == {"busy", "open"}
    assert circuits.found == {"busy": {"gw-1": BUSY}}
