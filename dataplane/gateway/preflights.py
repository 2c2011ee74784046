"""CORS on the request line: preflights, and answers of the gateway's own that scripts may read."""

from __future__ import annotations

from dataplane.gateway.actions import OriginDenied, Preflight
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import Router
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import METHODS, Request
from dataplane.proxy.reply import Reply, with_fields


class Asked:
    """A preflight: the method that a script of this origin wants to use, on a route with this CORS."""

    __slots__ = ("_cors", "_origin", "method")

    def __init__(self, cors: Cors, origin: str, method: str) -> None:
        self.method = method
        self._cors = cors
        self._origin = origin

    def answer(self, request: Request) -> object:
        """The answer to this request; a refusal if the route does not allow the origin."""
        headers = request.field("access-control-request-headers")
        fields = self._cors.preflight(self._origin, self.method, headers)
        return OriginDenied() if fields is None else Preflight(Reply.plain(204, "preflight", b"", "", fields))


def asked_by(request: Request, router: Router) -> Asked | None:
    """The preflight in an OPTIONS request: it is decided by the route of the request that it asks for.

    None if it is no preflight, or that route has no CORS: it goes the way of all requests.
    """
    origin, method = request.field("origin"), request.field("access-control-request-method")
    if not origin or method not in METHODS:
        return None
    route = router.match(request.host, request.path, method, request)
    if type(route) is not Route or route.forwarding is None or route.forwarding.cors is None:
        return None
    return Asked(route.forwarding.cors, origin, method)


def readable(reply: Reply, cors: Cors, exchange: Exchange) -> Reply:
    """An answer of the gateway's own, for scripts of the request's origin."""
    request = exchange.request
    fields = cors.response(request.field("origin")) if request is not None else []
    if cors.varies:
        fields.append(("vary", "Origin"))
    return with_fields(reply, fields)
