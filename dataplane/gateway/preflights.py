"""CORS on the request line: preflights, and answers of the gateway's own that scripts may read."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dataplane.gateway.actions import Action, OriginDenied, Preflight
from dataplane.gateway.limit_keys import needs_caller
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import Router
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import METHODS, Request
from dataplane.proxy.reply import Reply, with_fields

_ORIGIN: Final = "origin"
_METHOD: Final = "access-control-request-method"
_HEADERS: Final = "access-control-request-headers"


class Answering(Action):
    """Answers the preflights of a route."""

    __slots__ = ("_cors",)

    def __init__(self, cors: Cors) -> None:
        self._cors = cors

    def take(self, exchange: Exchange) -> object | None:
        request = exchange.request
        assert request is not None
        origin, method, headers = (request.field(name) for name in (_ORIGIN, _METHOD, _HEADERS))
        fields = self._cors.preflight(origin, method, headers)
        return OriginDenied() if fields is None else Preflight(Reply.plain(204, "preflight", b"", "", fields))


def asked_by(request: Request, router: Router) -> str:
    """The method that a preflight asks for: its route decides.

    Empty if the request is no preflight, or that route has no CORS: it goes the way of all requests.
    """
    origin, method = request.field(_ORIGIN), request.field(_METHOD)
    if not origin or method not in METHODS:
        return ""
    route = router.match(request.host, request.path, method, request)
    if type(route) is not Route or route.forwarding is None or route.forwarding.cors is None:
        return ""
    return method


def route_of(route: Route) -> Route:
    """How a route takes preflights: from anyone, but within the limits that need no caller. A preflight costs a
    decision like any other request."""
    limits = tuple(limit for limit in route.limits if not needs_caller(limit))
    return replace(route, public=True, scopes=frozenset(), limits=limits, service="")


def readable(reply: Reply, cors: Cors, exchange: Exchange) -> Reply:
    """An answer of the gateway's own, for scripts of the request's origin."""
    request = exchange.request
    fields = cors.response(request.field("origin")) if request is not None else []
    if cors.varies:
        fields.append(("vary", "Origin"))
    return with_fields(reply, fields)
