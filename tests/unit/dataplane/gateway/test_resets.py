"""Operators' orders, each obeyed once."""

from __future__ import annotations

from unittest import mock

from dataplane.gateway.policy.resources import Reset
from dataplane.gateway.resets import _MOST_OBEYED, Resets

BREAKER = Reset(1, circuit="orders")
BUCKET = Reset(2, rate_limit="address:2001:db8::1")


def test_an_order_is_obeyed_when_it_comes_and_never_again() -> None:
    limiter, breakers = mock.Mock(), mock.Mock()
    limiter.prefixes.return_value = {64}
    resets = Resets(limiter, breakers)
    for orders in ((BREAKER,), (BREAKER, BUCKET), (), (BUCKET, BREAKER)):
        resets.obey(orders, 3.0)
    breakers.reset.assert_called_once_with("orders", 3.0)
    limiter.reset.assert_called_once_with("address:2001:db8::/64")


def test_old_orders_are_forgotten_and_those_in_the_table_never() -> None:
    breakers = mock.Mock()
    resets = Resets(mock.Mock(), breakers)
    many = tuple(Reset(revision, circuit="orders") for revision in range(2 * _MOST_OBEYED))
    for _ in range(2):
        resets.obey(many, 0.0)
    assert breakers.reset.call_count == len(many)
    resets.obey((), 0.0)
    resets.obey(many[:1], 0.0)
    assert breakers.reset.call_count == len(many) + 1
