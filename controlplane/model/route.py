"""Routes: matches for requests, the services that they go to, and the requirements for access."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from controlplane.model.attempts import RequestTimeout, RouteRetries, TryTimeout, time_problems
from controlplane.model.authorization import Authorization
from controlplane.model.base import IGNORABLE, Added, Narrows, Resource
from controlplane.model.compression import Compression
from controlplane.model.cors import Cors, Network
from controlplane.model.edits import REQUEST, RESPONSE, HeaderEdits, protected
from controlplane.model.expressions import Expression
from controlplane.model.fields import (
    AsList,
    Host,
    HostName,
    Method,
    Name,
    PathText,
    Prefix,
    ScopeName,
    Unique,
    Upgrade,
    method_complaint,
)
from controlplane.model.forwarding import (
    Mirror,
    Redirect,
    Respond,
    RewriteRegex,
    Sticky,
    WeightedService,
    target_problems,
)
from controlplane.model.listener import LISTENERS
from controlplane.model.match import HeaderMatch, QueryMatch
from controlplane.model.problems import Problem

_CAPTURED = re.compile(r"\$\d")


class Route(Resource):
    """Matches requests and names the service that answers them. Exactly one of `prefix`, `path` and `path_regex` is
    set."""

    KIND: ClassVar[str] = "route"
    PLURAL: ClassVar[str] = "routes"
    REFERENCES: ClassVar[Mapping[str, str]] = {
        "service_name": "service",
        "services[].service_name": "service",
        "mirrors[].service_name": "service",
        "authorize_with.service_name": "service",
        "scopes[]": "scope",
        "rate_limits[]": "rate_limit",
        "listeners[]": "listener",
        "pools[]": "pool",
    }
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "name": "orders",
        "prefix": "/orders",
        "methods": ["GET", "POST"],
        "service_name": "orders",
        "scopes": ["orders:read"],
        "labels": {"team": "shop"},
    }
    SPARSE: ClassVar[tuple[str, ...]] = (
        *("path_regex", "headers", "query", "method_miss", "listeners", "pools"),
        *("request_headers", "response_headers", "compression"),
        *("cors", "allow_addresses", "deny_addresses", "authorize_with"),
        *("services", "sticky", "respond", "redirect", "rewrite_full", "rewrite_regex", "rewrite_host"),
        *("request_timeout", "try_timeout", "retries", "mirrors"),
    )
    ADDED: ClassVar[Mapping[str, Added]] = {
        # A data plane that ignores it upgrades no connection.
        "upgrades": IGNORABLE,
        "path_regex": Narrows("routes.matches"),
        "headers": Narrows("routes.matches"),
        "query": Narrows("routes.matches"),
        "services": Narrows("routes.forwarding"),
        "respond": Narrows("routes.forwarding"),
        "redirect": Narrows("routes.forwarding"),
        "rewrite_full": Narrows("routes.forwarding"),
        "rewrite_regex": Narrows("routes.forwarding"),
        "rewrite_host": Narrows("routes.forwarding"),
        "sticky": IGNORABLE,
        "cors": Narrows("routes.access"),
        "allow_addresses": Narrows("routes.access"),
        "deny_addresses": Narrows("routes.access"),
        "authorize_with": Narrows("routes.authorization"),
        "request_headers": Narrows("routes.edits"),
        "response_headers": Narrows("routes.edits"),
        # A data plane that ignores it sends responses as they are.
        "compression": IGNORABLE,
        # A data plane that ignores it traces another share.
        "trace_sampling": IGNORABLE,
        # A data plane that ignores them waits and repeats as the service says.
        "request_timeout": IGNORABLE,
        "try_timeout": IGNORABLE,
        "retries": IGNORABLE,
        # A data plane that ignores it sends no copies.
        "mirrors": IGNORABLE,
        # The other status refuses the request, too.
        "method_miss": IGNORABLE,
        # A data plane that ignores it serves the route on its own port.
        "listeners": Narrows(LISTENERS),
    }

    name: Name
    prefix: Annotated[
        Prefix | None, Field(description="Matches this path and all paths below it, by whole segments.")
    ] = None
    path: Annotated[PathText | None, Field(description="Matches only this path.")] = None
    path_regex: Annotated[
        Expression | None,
        Field(description="Matches paths that this regular expression (RE2) matches as a whole."),
    ] = None
    hosts: Annotated[
        tuple[Host, ...],
        AsList,
        Field(
            max_length=64,
            description="Host names; '*.example.org' matches all names below it; empty matches every host.",
        ),
        Unique,
    ] = ()
    methods: Annotated[
        tuple[Method, ...],
        AsList,
        Field(
            max_length=32,
            description="Methods; empty matches every method. GET includes HEAD, unless another route names HEAD.",
        ),
        Unique,
    ] = ()
    headers: Annotated[
        tuple[HeaderMatch, ...],
        AsList,
        Field(max_length=16, description="Conditions on header fields; all must hold."),
        Unique,
    ] = ()
    query: Annotated[
        tuple[QueryMatch, ...],
        AsList,
        Field(max_length=16, description="Conditions on query parameters; all must hold."),
        Unique,
    ] = ()
    method_miss: Annotated[
        int,
        Field(
            ge=404,
            le=405,
            description="Status when only the method does not match. With 404, as in the Gateway API, GET does not "
            "include HEAD.",
        ),
    ] = 405
    service_name: Annotated[Name | None, Field(description="Service that answers the requests.")] = None
    services: Annotated[
        tuple[WeightedService, ...],
        AsList,
        Field(max_length=16, description="Several services with their shares, instead of service_name."),
    ] = ()
    sticky: Annotated[
        Sticky | None, Field(description="Keeps a caller on its side of services, while the weights stay.")
    ] = None
    mirrors: Annotated[
        tuple[Mirror, ...],
        AsList,
        Field(max_length=8, description="Services that get copies of the requests, which nobody waits for."),
        Unique,
    ] = ()
    respond: Annotated[Respond | None, Field(description="The gateway answers, instead of a service.")] = None
    redirect: Annotated[
        Redirect | None, Field(description="The gateway redirects, instead of a service.")
    ] = None
    scopes: Annotated[
        tuple[ScopeName, ...],
        AsList,
        Field(max_length=64, description="Scopes that the caller must hold, all of them."),
        Unique,
    ] = ()
    public: Annotated[bool, Field(description="Requests need no token.")] = False
    authorize_with: Annotated[
        Authorization | None,
        Field(description="A service that is asked about each request, after token, scopes and limits."),
    ] = None
    strip_prefix: Annotated[
        bool, Field(description="Remove the prefix from the path of the forwarded request.")
    ] = False
    rewrite: Annotated[
        PathText | None,
        Field(description="Replaces the matched prefix or path in the forwarded request."),
    ] = None
    rewrite_full: Annotated[
        PathText | None, Field(description="Replaces the whole path in the forwarded request.")
    ] = None
    rewrite_regex: Annotated[
        RewriteRegex | None, Field(description="Replaces parts of the path in the forwarded request.")
    ] = None
    rewrite_host: Annotated[
        HostName | None, Field(description="Replaces the host in the forwarded request.")
    ] = None
    cors: Annotated[
        Cors | None,
        Field(
            description="Scripts of which origins may use the route. Preflights are answered without a token."
        ),
    ] = None
    allow_addresses: Annotated[
        tuple[Network, ...],
        AsList,
        Field(max_length=256, description="Addresses and networks of clients; all others are refused."),
        Unique,
    ] = ()
    deny_addresses: Annotated[
        tuple[Network, ...],
        AsList,
        Field(max_length=256, description="Addresses and networks of clients that are refused."),
        Unique,
    ] = ()
    request_headers: Annotated[
        HeaderEdits | None, Field(description="Edits of the header fields that the service gets.")
    ] = None
    response_headers: Annotated[
        HeaderEdits | None, Field(description="Edits of the header fields of the service's responses.")
    ] = None
    compression: Annotated[
        Compression | None, Field(description="Responses are compressed for clients that accept it.")
    ] = None
    rate_limits: Annotated[
        tuple[Name, ...],
        AsList,
        Field(max_length=16, description="Rate limits, applied in this order."),
        Unique,
    ] = ()
    timeout: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=86_400,
            description="Seconds until the response's head, of each try; by default try_timeout, request_timeout or "
            "that of the service.",
        ),
    ] = None
    request_timeout: RequestTimeout = None
    try_timeout: TryTimeout = None
    retries: Annotated[
        RouteRetries | None, Field(description="Retries, instead of those of the service.")
    ] = None
    max_body_bytes: Annotated[
        int, Field(ge=0, le=2**50, description="Largest request body in bytes; 0 for no bound.")
    ] = 10 * 1024 * 1024

    upgrades: Annotated[
        tuple[Upgrade, ...],
        AsList,
        Field(max_length=8, description="Protocols a connection may change to, like websocket; empty: none."),
        Unique,
    ] = ()
    listeners: Annotated[
        tuple[Name, ...],
        AsList,
        Field(
            max_length=64,
            description="Listeners that serve it; 'default' is that of the setting LISTEN; empty: all of them.",
        ),
        Unique,
    ] = ()
    pools: Annotated[
        tuple[Name, ...],
        AsList,
        Field(
            max_length=64,
            description="Pools whose data planes serve it; 'default' is that of the data planes whose credential names "
            "none; empty: all data planes.",
        ),
        Unique,
    ] = ()

    trace_sampling: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Share of the traces begun by its requests that are recorded; by default the data plane's.",
        ),
    ] = None

    def outdated(self) -> Iterable[Problem]:
        """Methods that the gateway does not serve."""
        for position, method in enumerate(self.methods):
            if complaint := method_complaint(method):
                yield Problem(f"methods[{position}]", complaint)

    def warnings(self) -> Iterable[Problem]:
        """Wildcards, parameters and capture groups of other gateways, which are ordinary text here."""
        field, matched = ("prefix", self.prefix) if self.prefix is not None else ("path", self.path or "")
        parameter = re.search(r"/(:[^/]+)", matched)
        if "*" in matched:
            yield Problem(
                field, "'*' is an ordinary character here; a prefix matches everything below it without one"
            )
        elif parameter:
            yield Problem(
                field, f"{parameter[1]!r} is an ordinary segment here; a prefix matches any segments below it"
            )
        if self.cors is not None:
            yield from self.cors.warnings()
        if self.authorize_with is not None:
            yield from self.authorize_with.warnings()
        if self.rewrite and (captured := _CAPTURED.search(self.rewrite)):
            yield Problem(
                "rewrite", f"{captured[0]!r} is ordinary text here; what follows a prefix stays without it"
            )

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One way to match, one way to change the path, and no scopes without a token."""
        given = [name for name in ("prefix", "path", "path_regex") if fields.get(name) is not None]
        if not given:
            yield Problem("prefix", "is required, or path, or path_regex")
        for name in given[1:]:
            yield Problem(name, f"must not be given together with {given[0]}")
        if fields.get("strip_prefix") is True and given and given[0] != "prefix":
            yield Problem("strip_prefix", f"needs a prefix, but the route has a {given[0]}")
        yield from target_problems(fields)
        yield from time_problems(fields)
        yield from protected("request_headers", fields.get("request_headers"), REQUEST)
        yield from protected("response_headers", fields.get("response_headers"), RESPONSE)
        if fields.get("public") is True and fields.get("scopes"):
            yield Problem("scopes", "must be empty on a public route, whose requests need no token")
