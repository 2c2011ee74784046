"""Requests on a TLS connection that was made to another listener of the port than that of their Host.

Sources: RFC 9110, section 15.5.20 (421); Gateway API v1.6, `Listener.hostname`, on connections that are used again
("If another Listener does match the Host, the Gateway SHOULD return a 421. If no other Listener matches the Host, the
Gateway MUST return a 404"), and its conformance test HTTPRouteHTTPSListenerDetectMisdirectedRequests.
"""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config.items import Item, ServerCertificate, UnlinkedRoute
from dataplane.gateway.policy.resources import Listener, Route, Service
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.tls import Chain, Served, names_of
from tests.support.certificates import Authority
from tests.unit.dataplane.gateway.line import ONE, Line

HOSTS = {
    "any": (),
    "second": ("second-example.org",),
    "wildcard": ("*.wildcard.org",),
    "fourth": ("fourth-example.wildcard.org",),
}
"""The listeners of the conformance test."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    pair = Authority(tmp_path_factory.mktemp("ca")).issue("one")
    chain = Chain(pair[0].read_bytes(), pair[1].read_bytes())
    return ServerCertificate("shop", Served(chain, names_of(chain)), 0.0)


def line(certificate: ServerCertificate, *without: str, **fields: Any) -> tuple[Line, Entrance]:
    """Every listener has a route for everything, that for every host one for example.org; and the port."""
    options = {"protocol": "https", "certificates": ("shop",), **fields}
    listeners: list[Item] = [
        Listener(name, 8443, hosts, **options) for name, hosts in HOSTS.items() if name not in without
    ]
    routes = [
        UnlinkedRoute(
            Route(
                f"to-{name}",
                "orders",
                prefix="/",
                hosts=() if hosts else ("example.org",),
                public=True,
                listeners=(name,),
            )
        )
        for name, hosts in HOSTS.items()
        if name not in without
    ]
    made = Line(Service("orders"), ONE, certificate, *listeners, *routes)
    return made, Entrance(made.gateway.table.sites[8443])


ROWS = [
    # Server name, Host, status: the cases of the conformance test, with its names.
    ("example.org", "example.org", 200),
    ("example.org", "second-example.org", 421),
    ("example.org", "unknown-example.org", 404),
    ("second-example.org", "second-example.org", 200),
    ("second-example.org", "example.org", 421),
    ("second-example.org", "unknown-example.org", 421),
    ("third-example.wildcard.org", "third-example.wildcard.org", 200),
    ("third-example.wildcard.org", "fith-example.wildcard.org", 200),
    ("third-example.wildcard.org", "fourth-example.wildcard.org", 421),
    ("third-example.wildcard.org", "second-example.org", 421),
    ("third-example.wildcard.org", "unknown-example.org", 421),
    ("fourth-example.wildcard.org", "fourth-example.wildcard.org", 200),
    ("fourth-example.wildcard.org", "fith-example.wildcard.org", 421),
    ("unknown-example.org", "example.org", 200),
    ("unknown-example.org", "unknown-example.org", 404),
    # A host ignores case, and has a port (RFC 9110, 4.2.3 and 7.2).
    ("second-example.org", "Second-Example.org:8443", 200),
    # Without a server name, the connection is that of the listener for every host.
    ("", "example.org", 200),
    ("", "second-example.org", 421),
]


@pytest.mark.parametrize(("server_name", "host", "status"), ROWS)
def test_a_connection_serves_its_own_listener(
    certificate: ServerCertificate, server_name: str, host: str, status: int
) -> None:
    made, port = line(certificate)
    assert _status(made, port, server_name, host) == status


def test_a_host_that_no_listener_serves_is_not_found(certificate: ServerCertificate) -> None:
    made, port = line(certificate, "any")
    assert _status(made, port, "second-example.org", "unknown-example.org") == 404


def test_without_tls_the_host_alone_decides(certificate: ServerCertificate) -> None:
    made, port = line(certificate, protocol="http", certificates=())
    assert _status(made, port, "", "second-example.org") == 200


def test_a_preflight_is_no_way_around(certificate: ServerCertificate) -> None:
    made, port = line(certificate)
    refusal, exchange = made.ask(
        "/",
        (b"Origin", b"https://a.example"),
        (b"Access-Control-Request-Method", b"GET"),
        method=b"OPTIONS",
        host=b"second-example.org",
        entrance=port,
        server_name="one.net",
    )
    reply = made.gateway.refuse(exchange, refusal)
    assert (reply.status, reply.decision) == (421, "misdirected")


def _status(made: Line, port: Entrance, server_name: str, host: str) -> int:
    refusal, exchange = made.ask("/", host=host.encode(), entrance=port, server_name=server_name)
    return 200 if refusal is None else made.gateway.refuse(exchange, refusal).status
