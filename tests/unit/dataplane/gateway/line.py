"""A gateway with a table, and requests to it without sockets: what the tests of the request line share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import time
from types import SimpleNamespace
from typing import Any, cast

from joserfc import jwk, jwt

from dataplane.config.table import Item, ResourceSet, UnlinkedRoute, build
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.resources import (
    Instance,
    Limit,
    LimitKey,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.http1.names import REQUEST_NAMES, field_sorter
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.pool import Pool
from dataplane.proxy.trust import TrustedProxies

KEY = jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
VERIFIED_BY = VerificationKey("k1", json.dumps(KEY.as_dict(private=False)), "headgate", "headgate")
SCOPE = frozenset({"orders:read"})
BY_ADDRESS = Limit("by-address", 1, 2, LimitKey.ADDRESS)
BY_SUBJECT = Limit("by-subject", 1, 2, LimitKey.SUBJECT)
BY_FIELD = Limit("by-field", 1, 2, LimitKey.HEADER, "x-key")
BY_ROUTE = Limit("by-route", 1, 2, LimitKey.ROUTE)
ONE = Instance("orders", "1", "127.0.0.1", 81)
TWO = Instance("orders", "2", "127.0.0.1", 82)


class Ended:
    """Remembers what ended."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


class Line:
    """A gateway at one moment."""

    def __init__(self, *items: Item, default: Limit | None = None, trusted: Sequence[str] = ()) -> None:
        self.trusted = TrustedProxies(trusted)
        self.observer = Ended()
        self.gateway = Gateway(self.observer, Pool(), default_limit=default, trusted=self.trusted)
        self.revision = 0
        self.swap(*items)

    def swap(self, *items: Item, now: float = 0.0) -> None:
        self.revision += 1
        self.gateway.swap(build(ResourceSet.of(*items), self.revision), now)

    def ask(
        self,
        path: str = "/orders/1",
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        token: str = "",
        address: str = "203.0.113.9",
        now: float = 0.0,
        encoding: str = "ascii",
        host: bytes = b"a.example",
        entrance: Entrance | None = None,
        server_name: str = "",
    ) -> tuple[object, Exchange]:
        peer = self.trusted.peer(address)
        said = [*([(b"Host", host)] if host else []), *fields]
        if token:
            said.append((b"Authorization", b"Bearer " + token.encode()))
        passing: list[bytes] = []
        special: list[tuple[bytes, bytes]] = []
        collect = field_sorter(REQUEST_NAMES, passing, special)
        for name, value in said:
            collect(name, value)
        # HTTP/1.0 has no Host, and does not keep connections.
        version = "1.1" if host else "1.0"
        request = read_request(
            method, path.encode(encoding), passing, special, peer, bool(host), lambda: version
        )
        where = {"entrance": entrance or Entrance(), "server_name": server_name}
        client = SimpleNamespace(peer=peer, address=peer.address, **where)
        exchange = Exchange(cast(Any, client), request, b"id-1")
        return self.gateway.decide(exchange, now), exchange

    def end(self, exchange: Exchange, result: Result = Result.ANSWERED, now: float = 0.0) -> None:
        exchange.result, exchange.ended = result, now
        self.gateway.finished(exchange)


def orders(*limits: str, **fields: Any) -> UnlinkedRoute:
    return UnlinkedRoute(Route("orders", "orders", prefix="/orders", **{"scopes": SCOPE, **fields}), limits)


def sent(exchange: Exchange) -> bytes:
    """The target that goes upstream."""
    assert exchange.request is not None
    return exchange.request.target


def response_timeout(route: UnlinkedRoute) -> float:
    plan = Line(*BASE, route).ask(token=ALICE)[1].plan
    assert plan is not None
    return plan.response_timeout


def token(
    subject: str = "alice", scopes: str = "orders:read", lifetime: float = 86_400.0, **more: object
) -> str:
    """A signed token, good for a day: tests share it, and a slow run takes longer than tokens usually live."""
    claims = {
        "iss": "headgate",
        "aud": "headgate",
        "sub": subject,
        "scope": scopes,
        "iat": int(time()),
        **more,
    }
    return jwt.encode(
        {"alg": "ES256", "kid": "k1", "typ": "at+jwt"},
        {**claims, "exp": int(time() + lifetime)},
        KEY,
        ["ES256"],
    )


ALICE = token()
BASE: tuple[Item, ...] = (Service("orders"), ONE, User("alice", SCOPE), VERIFIED_BY)


PUBLIC = orders(public=True, scopes=frozenset())


def serve(line: Line, sick: str, times: int, now: float = 0.0) -> list[str]:
    """So many requests, of which those to the instance `sick` fail. Returns where they went; "" if refused."""
    went = []
    for _ in range(times):
        refusal, exchange = line.ask(now=now)
        went.append(exchange.endpoint.id if refusal is None and exchange.endpoint is not None else "")
        failed = exchange.endpoint is not None and exchange.endpoint.id in sick
        line.end(exchange, Result.FAILED if failed else Result.ANSWERED, now)
    return went


def circuit_of(line: Line) -> str:
    (report,) = line.gateway.breakers.report(0.0)
    return report.state
