"""How often a request that reached nobody may be sent elsewhere."""

from __future__ import annotations

import pytest

from dataplane.policy.resources import Service
from dataplane.policy.retry import may_try_another


@pytest.mark.parametrize(
    ("retries", "attempts_made", "allowed"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_connect_failures_are_retried_as_often_as_the_service_says(
    retries: int, attempts_made: int, allowed: bool
) -> None:
    assert may_try_another(attempts_made, Service("svc", connect_retries=retries)) is allowed
