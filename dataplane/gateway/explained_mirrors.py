"""The step about the copies of a request."""

from __future__ import annotations

from typing import Any

from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.circuit import State
from dataplane.gateway.twin import GatewayTwin

Details = dict[str, Any]


def mirrors_of(plan: Plan, twin: GatewayTwin, now: float) -> tuple[str, Details]:
    """In words, and as facts; no words for a route without mirrors."""
    forwarding = plan.route.forwarding
    if forwarding is None or not forwarding.mirrors:
        return "", {}
    found = [
        {
            "service": mirror.service,
            "percentage": mirror.percentage,
            "candidates": twin.backends.get(mirror.service).taking,
            "breaker": _breaker(twin, mirror.service, now),
        }
        for mirror in forwarding.mirrors
    ]
    said = ", ".join(f"{mirror.service} ({mirror.percentage:g} %)" for mirror in forwarding.mirrors)
    return f"Copies go to {said}.", {"mirrors": found}


def _breaker(twin: GatewayTwin, service: str, now: float) -> str:
    breaker = twin.breaker(service)
    return State.CLOSED.value if breaker is None else breaker.report(now).state
