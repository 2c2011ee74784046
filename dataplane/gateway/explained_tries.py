"""The step about the time and the tries that a request has."""

from __future__ import annotations

from typing import Any

from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.retry import CONNECT

Details = dict[str, Any]


def tries_of(plan: Plan) -> tuple[str, Details]:
    """In words, and as facts."""
    details: Details = {
        "request_timeout": plan.total_timeout,
        "try_timeout": plan.try_timeout,
        "connect_timeout": plan.connect_timeout,
        "response_timeout": plan.response_timeout,
        "idle_timeout": plan.idle_timeout,
        "retries": _retries(plan),
    }
    whole = f"{plan.total_timeout:g} s in all" if plan.total_timeout else "no limit in all"
    each = f"{plan.try_timeout:g} s for each try" if plan.try_timeout else "none for each try"
    return f"The request has {whole} and {each}. {_sentence(plan)}", details


def _sentence(plan: Plan) -> str:
    retries = plan.retries
    if not retries.attempts or not retries.on:
        return "It is not sent again."
    often = "once more" if retries.attempts == 1 else f"{retries.attempts} times more"
    return f"It is sent at most {often}, on {', '.join(sorted(retries.on))}."


def _retries(plan: Plan) -> Details:
    retries, service = plan.retries, plan.service
    methods = sorted(plan.replayed)
    return {
        "attempts": retries.attempts,
        "on": sorted(retries.on),
        "backoff": retries.backoff,
        "methods": methods or (["any"] if CONNECT in retries.on else []),
        "budget": service.retries.budget if service is not None else 0.0,
        "of": "route" if plan.retries_same else "service",
    }
