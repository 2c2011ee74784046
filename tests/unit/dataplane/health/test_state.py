"""Thresholds, as a table of probes: "+" passed, "-" failed."""

from __future__ import annotations

import pytest

from dataplane.config.reports import InstanceStatus
from dataplane.gateway.policy.resources import HealthCheck
from dataplane.health.state import Health, Probe, next_probe, update_status

CHECK = HealthCheck(interval=30.0, healthy_threshold=2, unhealthy_threshold=3)


def after(probes: str, check: HealthCheck = CHECK) -> Health:
    health = Health()
    for position, result in enumerate(probes, start=1):
        probe = Probe(result == "+", float(position), "" if result == "+" else "refused")
        health = update_status(health, probe, check)
    return health


@pytest.mark.parametrize(
    ("probes", "status"),
    [
        ("", "starting"),
        ("+", "healthy"),  # the first pass is enough for one that is starting
        ("-", "starting"),
        ("--", "starting"),
        ("--+", "healthy"),
        ("---", "unhealthy"),
        ("---+", "unhealthy"),
        ("---+-+", "unhealthy"),  # passes count in a row
        ("---++", "healthy"),
        ("+--", "healthy"),
        ("+--+--", "healthy"),  # so do failures
        ("+---", "unhealthy"),
        ("+---++", "healthy"),
    ],
)
def test_thresholds(probes: str, status: str) -> None:
    assert after(probes).status is InstanceStatus(status)


def test_thresholds_of_one() -> None:
    check = HealthCheck(healthy_threshold=1, unhealthy_threshold=1)
    assert [after(probes, check).status.value for probes in ("-", "-+", "+-", "+-+")] == [
        "unhealthy",
        "healthy",
        "unhealthy",
        "healthy",
    ]


def test_the_last_check_and_its_reason() -> None:
    assert (after("+-").last_check, after("+-").reason) == (2.0, "refused")
    assert (after("+-+").last_check, after("+-+").reason) == (3.0, "")


def test_probes_come_by_the_interval_give_or_take_a_tenth() -> None:
    assert [next_probe(after("+"), CHECK, luck) for luck in (0.0, 0.5, 1.0)] == pytest.approx([27, 30, 33])
    assert next_probe(after("---"), CHECK, 0.5) == pytest.approx(30)


def test_one_that_is_starting_is_asked_again_soon() -> None:
    patient = HealthCheck(interval=3.0, unhealthy_threshold=100)
    waits = [next_probe(after("-" * failures, patient), patient, 0.5) for failures in range(1, 7)]
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0, 3.0, 3.0])
    assert next_probe(after("-" * 99, patient), patient, 0.5) == pytest.approx(3.0)
