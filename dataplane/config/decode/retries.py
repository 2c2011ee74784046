"""Decodes the time-outs and retries of a route."""

from __future__ import annotations

import re
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.gateway.policy.resources import Retries
from headgate_api.v1 import resources_pb2 as pb

_LONGEST: Final = 86_400
_CONDITION = re.compile(r"connect|reset|timeout|[45][0-9]{2}")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")


def read_times(body: pb.Route, check: Checker) -> tuple[float | None, float]:
    """Seconds for the whole request, None where the service decides, and for each try."""
    check.between("request_timeout", body.request_timeout, 0, _LONGEST)
    check.between("try_timeout", body.try_timeout, 0, _LONGEST)
    return body.request_timeout if body.HasField("request_timeout") else None, body.try_timeout


def read_retries(body: pb.Route, check: Checker) -> Retries | None:
    """None where the service decides."""
    if not body.HasField("retries"):
        return None
    retries = body.retries
    check.between("retries.attempts", retries.attempts, 0, 10)
    check.between("retries.backoff", retries.backoff, 0, 60)
    return Retries(
        attempts=retries.attempts,
        on=frozenset(check.each("retries.on", retries.on, _CONDITION, "a condition known to this version")),
        backoff=retries.backoff,
        methods=frozenset(check.each("retries.methods", retries.methods, _METHOD, "a method in upper case")),
    )
