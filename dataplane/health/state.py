"""The health of one instance as a value, and how a probe changes it. No clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataplane.config.reports import InstanceStatus
from dataplane.gateway.policy.resources import HealthCheck

FIRST_RETRY = 0.25
"""Seconds after which an instance that is starting is probed again; doubles up to its service's interval."""
JITTER = 0.1
"""Share by which intervals vary, so that the data planes of a fleet do not probe in step."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One finished probe, at Unix time `at`; `reason` says why it failed."""

    passed: bool
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """An instance's status, and how many probes in a row passed or failed."""

    status: InstanceStatus = InstanceStatus.STARTING
    passes: int = 0
    failures: int = 0
    last_check: float = 0.0
    """Unix time of the last finished probe; 0 before the first."""
    reason: str = ""
    """The reason the last probe failed; empty when it passed."""


def update_status(health: Health, probe: Probe, check: HealthCheck) -> Health:
    """The health after one more probe.

    A starting instance is healthy after its first passed probe: it takes no traffic yet, and should not wait for it.
    Any other change of status takes the number of consecutive probes in the service's thresholds.
    """
    passes = health.passes + 1 if probe.passed else 0
    failures = 0 if probe.passed else health.failures + 1
    status = health.status
    if (status is InstanceStatus.STARTING and probe.passed) or passes >= check.healthy_threshold:
        status = InstanceStatus.HEALTHY
    elif failures >= check.unhealthy_threshold:
        status = InstanceStatus.UNHEALTHY
    return replace(
        health, status=status, passes=passes, failures=failures, last_check=probe.at, reason=probe.reason
    )


def next_probe(health: Health, check: HealthCheck, jitter: float) -> float:
    """Seconds until the next probe; `jitter` is a random number from 0 to 1."""
    wait = check.interval
    if health.status is InstanceStatus.STARTING and health.failures:
        wait = min(wait, FIRST_RETRY * 2.0 ** min(health.failures - 1, 32))
    return wait * (1 - JITTER + 2 * JITTER * jitter)
