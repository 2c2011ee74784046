"""An exchange that has ended, for tests of what is counted and logged of it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.messages import Identity, Request

REQUEST_ID = b"0123456789abcdef0123456789abcdef"


class Place:
    """An instance, as far as observers read it."""

    def __init__(self, service: str, identity: str) -> None:
        self.id, self.instance = identity, SimpleNamespace(service=service, id=identity)
        self.served = self.faults = 0


def exchange(**fields: Any) -> Exchange:
    """A request to /orders/1 that was forwarded and answered within 3 ms."""
    request = Request()
    request.method, request.host, request.path = "GET", "example.org", "/orders/1"
    request.target, request.http11 = b"/orders/1", True
    request.provenance = request.sent_path = None
    request.fields, request.own_fields, request.values = [], [], None
    client = SimpleNamespace(address="192.0.2.1", peer=SimpleNamespace(scheme="https"))
    made = Exchange(cast(Any, client), request, REQUEST_ID)
    made.started = time.monotonic()
    made.sent_at, made.ended = made.started + 0.001, made.started + 0.003
    made.status, made.decision, made.revision = 200, "forwarded", 41
    made.plan = Forwarding("orders", "orders")
    made.endpoint = cast(Any, Place("orders", "orders-1"))
    made.identity = Identity("testuser", frozenset())
    made.received, made.sent, made.attempts = 7, 1024, 1
    for name, value in fields.items():
        setattr(made, name, value)
    return made
