"""What clients are told of a limit, read by an independent library for structured fields (RFC 9651)."""

from __future__ import annotations

from typing import Any

import pytest
from http_sfv.list import List
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.advertise import (
    concurrency_item,
    concurrency_left_item,
    policy_item,
    remaining_item,
)
from dataplane.gateway.policy.resources import Limit, LimitKey
from dataplane.gateway.policy.too_many import TooMany


def read(value: str) -> list[tuple[Any, dict[str, Any]]]:
    """The items of a list, each with its parameters."""
    found = List()
    found.parse(value.encode("ascii"))
    return [(item.value, dict(item.params)) for item in found]


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        (Limit("l", 100.0, 150, LimitKey.ROUTE), {"q": 150, "w": 2}),
        (Limit("l", 0.1, 5, LimitKey.ROUTE), {"q": 5, "w": 50}),
        (Limit("l", 1000.0, 1, LimitKey.ROUTE), {"q": 1, "w": 1}),
        (Limit("l", 1746 / 86_400, 1746, LimitKey.ROUTE), {"q": 1746, "w": 86_400}),
        (Limit("l", 1.0, 100, LimitKey.ROUTE, cost=10), {"q": 10, "w": 100}),
        (Limit("l", 1.0, 100, LimitKey.ROUTE, cost_header="x-cost"), {"q": 100, "qu": "tokens", "w": 100}),
        (Limit("l", 0.0, 0, LimitKey.ROUTE, max_concurrent=4), {"q": 4, "qu": "concurrent-requests"}),
    ],
)
def test_the_policy_says_what_a_whole_bucket_grants(limit: Limit, policy: dict[str, object]) -> None:
    assert read(policy_item(limit)) == [("l", policy)]


def test_what_remains_is_in_requests() -> None:
    limit = Limit("l", 1.0, 100, LimitKey.ROUTE, cost=10)
    assert read(remaining_item(limit, 39.9, 60.1)) == [("l", {"r": 3, "t": 61})]
    assert read(remaining_item(limit, 29.9999999, 0.0)) == [("l", {"r": 3, "t": 0})], (
        "rounding hides no request"
    )
    assert read(concurrency_left_item(limit, 2)) == [("l", {"r": 2})]
    assert read(concurrency_item(Limit("m", 0.0, 0, LimitKey.ROUTE, max_concurrent=4)))[0][0] == "m"


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True),
    st.floats(0.001, 1e6),
    st.integers(1, 10**6),
    st.floats(0, 1e9),
)
def test_every_refusal_reads_as_the_draft_has_it(name: str, rate: float, burst: int, wait: float) -> None:
    limit = Limit(name, rate, burst, LimitKey.ROUTE)
    fields = dict(TooMany(limit, wait, policy_item(limit)).headers())
    seconds = int(fields["Retry-After"])
    assert seconds >= wait and seconds >= 1, "never too early"
    assert read(fields["RateLimit"]) == [(name, {"r": 0, "t": seconds})]
    ((policy, told),) = read(fields["RateLimit-Policy"])
    window = told.pop("w")
    assert (policy, told) == (name, {"q": burst})
    assert burst / rate * (1 - 1e-9) <= window < burst / rate + 1 or window == 1


def test_a_debt_of_ages_is_a_number_that_parsers_read() -> None:
    limit = Limit("l", 0.001, 10, LimitKey.ROUTE, cost_header="x-cost")
    fields = dict(TooMany(limit, 2e15, policy_item(limit)).headers())
    assert fields["Retry-After"] == "999999999999999"
    assert read(fields["RateLimit"]) == [("l", {"r": 0, "t": 999_999_999_999_999})]
    assert read(remaining_item(limit, 0.0, 2e15)) == [("l", {"r": 0, "t": 999_999_999_999_999})]
