"""A port that closes serves the routes it had; it must not bring them back on the ports that stay."""

from __future__ import annotations

from typing import cast

from dataplane.config.table import Item
from dataplane.gateway.policy.authenticate import Unauthenticated
from dataplane.gateway.policy.resources import Listener
from dataplane.gateway.policy.sites import Sites
from dataplane.proxy.entrance import Entrance
from tests.unit.dataplane.gateway.line import BASE, PUBLIC, Line, orders


def test_a_route_that_needs_a_token_now_needs_one_on_every_other_port() -> None:
    shop: Item = Listener("shop", 8080)
    line = Line(*BASE, shop, PUBLIC)
    closing = Entrance(line.gateway.table.sites[8080])
    line.gateway.entrances[8080] = closing
    line.swap(*BASE, orders())
    assert cast(Sites, closing.sites) is not None
    line.ask(entrance=closing)
    assert isinstance(line.ask()[0], Unauthenticated)
    assert line.ask(entrance=closing)[0] is None
    assert isinstance(line.ask()[0], Unauthenticated)
