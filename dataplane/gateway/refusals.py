"""The table that turns refusals into responses: problem documents of RFC 9457.

Statuses, details and fields are the contract's. Parts that do not change from request to request are prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from math import ceil
from typing import Any, Final, cast

from dataplane.gateway.actions import (
    AddressDenied,
    AuthorizationFailed,
    NotAuthorized,
    OriginDenied,
    Preflight,
    Redirected,
    Responded,
    Unusable,
    WithoutService,
)
from dataplane.gateway.policy.authenticate import Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.resources import LimitMode
from dataplane.gateway.policy.router import AmbiguousPath, MethodNotAllowed, NotFound
from dataplane.gateway.policy.sites import Misdirected
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.redis_checks import Uncounted
from dataplane.proxy.errors import (
    AboutServer,
    BadResponse,
    CircuitOpen,
    ClientStalled,
    Exhausted,
    NoneHealthy,
    NotConfigured,
    NotRegistered,
    Saturated,
    TimedOut,
    TooLarge,
    TooManyConnections,
    Unavailable,
)
from dataplane.proxy.messages import METHODS, BadRequest
from dataplane.proxy.reply import Problem, Reply


def respond(refusal: object) -> Reply:
    """The response to a refusal. KeyError for other values."""
    return TABLE[type(refusal)](refusal)


def _retry(seconds: float) -> tuple[tuple[str, str]]:
    return (("retry-after", str(max(1, ceil(seconds)))),)


_ABOUT_SERVER = Reply(200, "about_server", "", [("allow", ", ".join(sorted(METHODS)))])
_NOT_FOUND = Reply(404, "not_found", "Service not found")
_MISDIRECTED = Reply(421, "misdirected", "Misdirected request")
_NOT_CONFIGURED = Reply(503, "not_configured", "Service unavailable", _retry(1))
_TOO_MANY_CONNECTIONS = Reply(503, "too_many_connections", "Too many connections", _retry(1))
_ORIGIN_DENIED = Reply(403, "origin_denied", "Origin not allowed", [("vary", "Origin")])
_ADDRESS_DENIED = Reply(403, "address_denied", "Address not allowed")
_WITHOUT_SERVICE = Reply(500, "without_service", "No service for this request")
_CLIENT_STALLED = Reply(408, "client_stalled", "Request timeout")
_EXHAUSTED = Reply(503, "exhausted", "Service unavailable", _retry(1))
# RFC 6750, section 3: a challenge has at least one parameter, and realm tells a client which credentials to take.
_CHALLENGE: Final = 'Bearer realm="headgate"'
_PROBLEMS: Final = "https://iana.org/assignments/http-problem-types#"
_CREDENTIALS = "Could not validate credentials"


def _method_not_allowed(refusal: MethodNotAllowed) -> Reply:
    allow = [("allow", ", ".join(refusal.allow))]
    return Reply(405, "method_not_allowed", "Method not allowed", allow)


@lru_cache(maxsize=256)
def _unauthenticated(token_sent: bool, reason: str) -> Reply:
    challenge = _CHALLENGE + ', error="invalid_token"' if token_sent else _CHALLENGE
    return Reply(401, "unauthenticated", _CREDENTIALS, [("www-authenticate", challenge)], reason)


def _forbidden(refusal: Forbidden) -> Reply:
    scopes = " ".join(sorted(refusal.route.scopes))
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scopes}"'
    reason = f"missing: {' '.join(sorted(refusal.missing))}"
    return Reply(403, "forbidden", "Not enough permissions", [("www-authenticate", challenge)], reason)


def _too_many(refusal: TooMany) -> Reply:
    return Reply(
        429,
        "limited",
        "Too many requests",
        [(name.lower(), value) for name, value in refusal.headers()],
        f"limit {refusal.limit.name}",
        _quota_exceeded(refusal.limit.name),
    )


def _uncounted(refusal: Uncounted) -> Reply:
    reason = f"limit {refusal.limit.name}: Redis does not answer"
    return Reply(503, "uncounted", "Service unavailable", _retry(1), reason)


def _unanswered(refusal: Unanswered) -> Reply:
    owner = "control plane" if refusal.limit.mode is LimitMode.FLEET else "supervisor"
    reason = f"limit {refusal.limit.name}: no {owner} answers"
    return Reply(503, "uncounted", "Service unavailable", _retry(1), reason)


@lru_cache(maxsize=256)
def _quota_exceeded(limit: str) -> Problem:
    """The problem type of draft-ietf-httpapi-ratelimit-headers-10."""
    title = "Request cannot be satisfied as assigned quota has been exceeded"
    return Problem(f"{_PROBLEMS}quota-exceeded", title, {"violated-policies": [limit]})


def _circuit_open(refusal: CircuitOpen) -> Reply:
    detail = f"Circuit breaker is open for service {refusal.service}"
    return Reply(503, "circuit_open", detail, _retry(refusal.retry_after))


def _saturated(refusal: Saturated) -> Reply:
    detail = f"Service {refusal.service} has reached its limit of requests under way"
    return Reply(503, "saturated", detail, _retry(1))


def _not_registered(refusal: NotRegistered) -> Reply:
    return Reply(503, "not_registered", f"Service '{refusal.service}' not found in registry")


def _none_healthy(refusal: NoneHealthy) -> Reply:
    detail = "No healthy instances available"
    return Reply(503, "none_healthy", detail, _retry(refusal.retry_after))


@lru_cache(maxsize=256)
def _malformed(status: int, reason: str) -> Reply:
    return Reply(status, "bad_request", f"{HTTPStatus(status).phrase}: {reason}", (), reason)


def _unusable(refusal: Unusable) -> Reply:
    return Reply(500, "unusable", "Internal server error", (), refusal.reason)


def _authorization_failed(refusal: AuthorizationFailed) -> Reply:
    detail = f"Authorization by service {refusal.service} is unavailable"
    reason = f"service {refusal.service}: {refusal.reason}"
    return Reply(503, "authorization_failed", detail, _retry(refusal.retry_after), reason)


TABLE: Final[Mapping[type, Callable[[Any], Reply]]] = {
    AboutServer: lambda _: _ABOUT_SERVER,
    NotFound: lambda _: _NOT_FOUND,
    Misdirected: lambda _: _MISDIRECTED,
    MethodNotAllowed: _method_not_allowed,
    AmbiguousPath: lambda _: _malformed(400, "path: its percent-encoding decides which route it matches"),
    Unauthenticated: lambda refusal: _unauthenticated(refusal.token_sent, refusal.reason),
    Forbidden: _forbidden,
    TooMany: _too_many,
    Uncounted: _uncounted,
    Unanswered: _unanswered,
    Saturated: _saturated,
    CircuitOpen: _circuit_open,
    Responded: lambda answer: cast(Reply, answer.reply),
    Redirected: lambda answer: cast(Reply, answer.reply),
    Preflight: lambda answer: cast(Reply, answer.reply),
    OriginDenied: lambda _: _ORIGIN_DENIED,
    AddressDenied: lambda _: _ADDRESS_DENIED,
    WithoutService: lambda _: _WITHOUT_SERVICE,
    Unusable: _unusable,
    NotAuthorized: lambda refusal: cast(Reply, refusal.reply),
    AuthorizationFailed: _authorization_failed,
    NotConfigured: lambda _: _NOT_CONFIGURED,
    NotRegistered: _not_registered,
    NoneHealthy: _none_healthy,
    TooLarge: lambda _: Reply(413, "too_large", "Content too large"),
    BadRequest: lambda bad: _malformed(bad.status, bad.reason),
    ClientStalled: lambda _: _CLIENT_STALLED,
    TooManyConnections: lambda _: _TOO_MANY_CONNECTIONS,
    Exhausted: lambda _: _EXHAUSTED,
    Unavailable: lambda refusal: Reply(503, "unavailable", "Service unavailable", (), refusal.reason),
    BadResponse: lambda refusal: Reply(502, "bad_response", "Service unavailable", (), refusal.reason),
    TimedOut: lambda refusal: Reply(504, "timed_out", "Service unavailable", (), refusal.reason),
}
"""All refusals, by type."""
