"""What becomes of an exchange that is over before its connection stands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from dataplane.proxy.dialer import Dialer
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.pool import Pool
from dataplane.proxy.shared import Shared


@pytest.mark.parametrize(
    "over", [{"ended": 1.0}, {"status": 504}], ids=["ended", "refused, not yet delivered"]
)
def test_what_has_been_answered_is_not_sent(over: dict[str, Any]) -> None:
    decider, upstream = mock.Mock(), mock.Mock()
    dialer = Dialer(Shared(decider), Pool())
    exchange = Exchange(cast(Any, SimpleNamespace(address="192.0.2.1")), None, b"id")
    exchange.endpoint = mock.Mock(idle=[upstream])
    for name, value in over.items():
        setattr(exchange, name, value)
    dialer.connected(exchange, upstream)
    dialer.resume(exchange)
    dialer.unconnected(exchange, object())
    upstream.keep.assert_called_once()
    upstream.send.assert_not_called()
    decider.retry.assert_not_called()
