"""What routes do with admitted requests besides sending them to one service: shares, own answers, redirects; module
`adjusting` has the bounds and changes.

Prepared with the plan of the route. A route without any of it has no action, and its requests pay nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dataplane.gateway.backends import Backends
from dataplane.gateway.policy.forwarding import Redirect, Respond, Sticky
from dataplane.gateway.policy.permit import Permit
from dataplane.gateway.policy.router import with_prefix
from dataplane.gateway.policy.weights import Points, borders, point_of, side
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.messages import BadRequest, Request
from dataplane.proxy.reply import Reply

_PORTS: Final = {"http": 80, "https": 443}


class OwnAnswer:
    """A route's answer in place of a service's response: edited like it."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Responded(OwnAnswer):
    """The route answers by itself."""

    __slots__ = ()


class Redirected(OwnAnswer):
    """The route sends the client elsewhere."""

    __slots__ = ()


class Preflight:
    """The answer to a preflight (CORS)."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class OriginDenied:
    """A preflight of an origin whose scripts may not use the route."""

    __slots__ = ()


class AddressDenied:
    """The client's address may not use the route."""

    __slots__ = ()


class WithoutService:
    """The share of the route that the request belongs to has no service."""

    __slots__ = ()


class Unusable:
    """The data plane cannot do what the route says; without it, the request would get less protection or another
    answer."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class NotAuthorized:
    """The service that the route asks has refused the request."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class AuthorizationFailed:
    """The service that the route asks gives no answer that decides."""

    __slots__ = ("reason", "retry_after", "service")

    def __init__(self, service: str, reason: str, retry_after: float) -> None:
        self.service = service
        self.reason = reason
        self.retry_after = retry_after


class Consulting:
    """Asks a service about requests (module `authorizing`)."""

    __slots__ = ()

    def ask(self, exchange: Exchange, permit: Permit, now: float) -> object | None:
        """A refusal, None if the request may go on, or UNDECIDED: the gateway is told later."""
        raise NotImplementedError


class Side(Forwarding):
    """A plan that an action may put in the place of the route's own."""

    __slots__ = ()

    def take(self, exchange: Exchange) -> object | None:
        """As `Action.take`, for an exchange that has this plan now."""
        raise NotImplementedError

    def refresh(self, backends: Backends) -> None:
        """The services have changed while a decision waited: look the own one up again."""
        raise NotImplementedError


class Action:
    """What happens to an admitted request."""

    __slots__ = ()

    def take(self, exchange: Exchange) -> object | None:
        """A refusal or answer; None if the exchange, with the plan it has now, is to be forwarded."""
        raise NotImplementedError

    def refresh(self, backends: Backends) -> None:
        """As `Side.refresh`."""


class Answering(Action):
    """Gives the same answer to every request."""

    __slots__ = ("_answer",)

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def take(self, exchange: Exchange) -> object | None:
        return self._answer


def responding(respond: Respond) -> Action:
    """The action of a route that answers by itself."""
    reply = Reply.plain(respond.status, "responded", respond.body, respond.content_type)
    return Answering(Responded(reply))


class Redirecting(Action):
    """Redirects, with the parts of the request that the route does not replace."""

    __slots__ = ("_prefix", "_redirect")

    def __init__(self, redirect: Redirect, prefix: str | None) -> None:
        """`prefix` is the route's."""
        self._redirect = redirect
        self._prefix = prefix

    def take(self, exchange: Exchange) -> object | None:
        request = exchange.request
        assert request is not None
        location = self._location(exchange, request)
        if not location:
            return BadRequest(400, "no Host, which the redirect needs")
        fields = [("location", location)]
        return Redirected(Reply(self._redirect.status, "redirected", "", fields))

    def _location(self, exchange: Exchange, request: Request) -> str:
        """Empty if the request does not have what it takes."""
        redirect, query = self._redirect, request.query.decode("latin-1")
        path = request.path if request.sent_path is None else request.sent_path
        if redirect.path:
            path = redirect.path
        elif redirect.prefix and self._prefix is not None:
            path = with_prefix(self._prefix, redirect.prefix, path)
        host, _, port = _split(request.authority.decode("latin-1"))
        host = redirect.host or host
        if not host:
            # HTTP/1.0 without Host: a relative reference (RFC 9110, 10.2.2), which has neither scheme nor port.
            return "" if redirect.scheme or redirect.port else path + query
        scheme = redirect.scheme or _scheme(exchange, request)
        if redirect.port:
            port = str(redirect.port)
        elif redirect.scheme:
            port = ""
        if port == str(_PORTS[scheme]):
            port = ""
        return f"{scheme}://{host}{':' if port else ''}{port}{path}{query}"


def _scheme(exchange: Exchange, request: Request) -> str:
    provenance = request.provenance
    if provenance is not None and provenance.forwarded_proto is not None:
        return provenance.forwarded_proto.decode("ascii")
    return exchange.client.peer.scheme


def _split(authority: str) -> tuple[str, str, str]:
    """Host and port; an IPv6 address has colons of its own."""
    host, colon, port = authority.rpartition(":")
    return (host, colon, port) if colon and "]" not in port else (authority, "", "")


class Splitting(Action):
    """Sends each request to one of several services."""

    __slots__ = ("_borders", "_points", "_sides", "_sticky")

    def __init__(
        self, sides: Sequence[Side | None], weights: Sequence[int], points: Points, sticky: Sticky | None
    ) -> None:
        """A side without a service is None. `points` outlives the plan."""
        self._sides = sides
        self._borders = borders(weights)
        self._points = points
        self._sticky = sticky

    def take(self, exchange: Exchange) -> object | None:
        if not self._borders:
            return WithoutService()
        point = self._points.next() if self._sticky is None else self._own(exchange, self._sticky)
        found = self._sides[side(self._borders, point)]
        if found is None:
            return WithoutService()
        exchange.plan = found
        return found.take(exchange)

    def refresh(self, backends: Backends) -> None:
        for each in self._sides:
            if each is not None:
                each.refresh(backends)

    def _own(self, exchange: Exchange, sticky: Sticky) -> float:
        """The point of the caller. A caller without the cookie gets one."""
        request = exchange.request
        assert request is not None
        if sticky.header:
            value = request.field(sticky.header)
            return point_of(value) if value else self._points.next()
        value = _cookie(request.field("cookie"), sticky.cookie)
        if not value:
            value = exchange.request_id.decode("latin-1")
            secure = "; Secure" if _scheme(exchange, request) == "https" else ""
            cookie = f"{sticky.cookie}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
            exchange.response_fields = (*exchange.response_fields, ("set-cookie", cookie))
        return point_of(value)


def _cookie(text: str, name: str) -> str:
    """The value of a cookie in a Cookie field (RFC 6265, 4.2); "" without one."""
    for pair in text.replace(",", ";").split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            return value.strip()
    return ""
