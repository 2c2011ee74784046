"""The path that an instance gets, where the route changes it, and the protocol that it is offered."""

from __future__ import annotations

from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import AMBIGUOUS_PATH, upstream_path
from dataplane.proxy.messages import BadRequest, Request
from dataplane.proxy.normal_path import BadPath, match_form, normal_form
from headgate_api.expressions import TooLong


def rewritten(route: Route, request: Request) -> bytes:
    """The target after `rewrite`, `strip_prefix` or a fixed path."""
    path = upstream_path(route, request.path if request.sent_path is None else request.sent_path)
    return path.encode("latin-1") + request.query


def substitute(route: Route, request: Request) -> object | None:
    """Put the substituted path into the target. A refusal if servers differ in how they read it, or if it takes or
    becomes too much."""
    try:
        path = _substituted(route, request)
    except BadPath:
        return AMBIGUOUS_PATH
    except TooLong as error:
        return BadRequest(error.status, f"path: {error}")
    request.target = path.encode("latin-1") + request.query
    return None


def allowed_upgrade(route: Route, request: Request) -> tuple[str, ...]:
    """The first of the protocols offered that the route lists, or none: instances are offered one."""
    return tuple(protocol for protocol in request.upgrade if protocol in route.upgrades)[:1]


def _substituted(route: Route, request: Request) -> str:
    """The new path, from the path as it was sent: reserved characters stay encoded. But if the expression reads that
    otherwise than the path that the route was matched on, the latter counts: no spelling gets around the expression.
    """
    path = normal_form(upstream_path(route, request.path))
    if request.sent_path is None:
        return path
    kept = normal_form(upstream_path(route, request.sent_path))
    return kept if match_form(kept) == match_form(path) else path
