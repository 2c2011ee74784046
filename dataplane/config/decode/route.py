"""Decodes a route: its match, and what happens to the requests that it matches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dataplane.config.decode.checker import Checker
from dataplane.config.decode.forwarding import read_forwarding
from dataplane.config.decode.retries import read_retries, read_times
from dataplane.config.decode.words import ROUTE_HOST, SCOPE
from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.policy import resources as policy
from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.forwarding import Forwarding
from headgate_api.expressions import compiled
from headgate_api.v1 import resources_pb2 as pb

_UPGRADE = re.compile(r"(?!(?:h2c|http|tls)(?:/|$))[a-z0-9!#$%&'*+.^_`|~/-]{1,65}")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_MISSES = (0, 404, 405)


def read_route(resource: pb.Resource, check: Checker) -> UnlinkedRoute:
    """The route of a resource, not linked to its limits yet."""
    body = resource.route
    if bool(body.prefix) + bool(body.path) + bool(body.path_regex) != 1:
        check.wrong("prefix", "exactly one of prefix, path and path_regex must be set")
    if body.public and body.scopes:
        check.wrong("scopes", "must be empty on a public route, whose requests need no token")
    if body.timeout:
        check.above_zero("timeout", body.timeout)
    check.between("trace_sampling", body.trace_sampling, 0, 1)
    if body.method_miss not in _MISSES:
        check.wrong("method_miss", f"must be 404 or 405, not {body.method_miss}")
    # A method that the gateway does not serve is accepted: no request with it reaches a route. Control planes refuse it
    # in new routes, but older stores may hold some.
    methods = frozenset(check.each("methods", body.methods, _METHOD, "a method in upper case"))
    follows = "GET" in methods and "HEAD" not in methods and body.method_miss != 404
    forwarding = read_forwarding(body, check)
    request_timeout, try_timeout = read_times(body, check)
    route = policy.Route(
        name=check.name("name", resource.name),
        service=_service(body, forwarding, check),
        forwarding=forwarding,
        prefix=check.route_path("prefix", body.prefix) if body.prefix else None,
        path=check.route_path("path", body.path) if body.path else None,
        pattern=body.path_regex or None,
        expression=_expression("path_regex", body.path_regex, check) if body.path_regex else None,
        hosts=check.each("hosts", body.hosts, ROUTE_HOST, "a host name in lower case without port"),
        methods=methods | {"HEAD"} if follows else methods,
        head_follows=follows,
        conditions=_conditions(body, check) if body.headers or body.query else None,
        miss_hidden=body.method_miss == 404,
        created=resource.created,
        scopes=frozenset(check.each("scopes", body.scopes, SCOPE, "a scope token (RFC 6749)")),
        public=body.public,
        strip_prefix=body.strip_prefix,
        rewrite=check.path("rewrite", body.rewrite) if body.rewrite else "",
        timeout=body.timeout or None,
        request_timeout=request_timeout,
        try_timeout=try_timeout,
        retries=read_retries(body, check),
        max_body_bytes=body.max_body_bytes or None,
        upgrades=check.each(
            "upgrades", body.upgrades, _UPGRADE, "a protocol that a connection may change to"
        ),
        trace_sampling=body.trace_sampling if body.HasField("trace_sampling") else None,
        listeners=tuple(check.name(f"listeners[{at}]", name) for at, name in enumerate(body.listeners)),
    )
    return UnlinkedRoute(route, tuple(body.rate_limits))


def _service(body: pb.Route, forwarding: Forwarding | None, check: Checker) -> str:
    """The one service; "" for a route that says otherwise where its requests go."""
    elsewhere = body.services or body.HasField("respond") or body.HasField("redirect")
    if forwarding is not None and not body.service_name and elsewhere:
        return ""
    return check.name("service_name", body.service_name)


def _conditions(body: pb.Route, check: Checker) -> Conditions:
    for position, header in enumerate(body.headers):
        check.token(f"headers[{position}].name", header.name)
    return Conditions(_tests("headers", body.headers, check), _tests("query", body.query, check))


def _tests(
    path: str, matches: Iterable[pb.HeaderMatch | pb.QueryMatch], check: Checker
) -> tuple[Condition, ...]:
    return tuple(_test(f"{path}[{position}]", match, check) for position, match in enumerate(matches))


def _test(path: str, match: pb.HeaderMatch | pb.QueryMatch, check: Checker) -> Condition:
    given = [kind for kind in ("exact", "regex", "present") if match.HasField(kind)]
    name = match.name.lower() if isinstance(match, pb.HeaderMatch) else match.name
    if given == ["exact"]:
        return Condition(name, exact=match.exact)
    if given == ["regex"]:
        return Condition(name, regex=match.regex, expression=_expression(f"{path}.regex", match.regex, check))
    if given != ["present"] or not match.present:
        # Without a condition that this version knows the route would match too much.
        check.wrong(path, "must have exactly one of exact, regex and present")
    return Condition(name)


def _expression(path: str, text: str, check: Checker) -> Any:
    try:
        return compiled(text)
    except ValueError as error:
        check.wrong(path, f"is not a regular expression of RE2: {error}")
        return None
