"""What a decision on a route needs and the engine needs to carry its exchanges, prepared once for both."""

from __future__ import annotations

from typing import Final

from dataplane.gateway.backends import Backend
from dataplane.gateway.policy import retry
from dataplane.gateway.policy.resources import Limit, LimitKey, Route, Service
from dataplane.proxy.exchange import Forwarding

_CONNECT_ONLY: Final = frozenset({retry.CONNECT})


class Plan(Forwarding):
    """A route with everything a decision on it needs, prepared when the route is first used."""

    __slots__ = (
        "backend",
        "by_address",
        "by_subject",
        "coarse",
        "rewrites",
        "route",
        "service",
    )

    def __init__(
        self, route: Route, service: Service | None, backend: Backend, default_limit: Limit | None
    ) -> None:
        super().__init__(route.name, route.service)
        limits = (default_limit, *route.limits) if default_limit is not None else route.limits
        self.route = route
        self.service = service
        self.backend = backend
        self.by_address = tuple(limit for limit in limits if limit.key is LimitKey.ADDRESS)
        self.by_subject = tuple(limit for limit in limits if limit.key is LimitKey.SUBJECT)
        self.coarse = tuple(limit for limit in limits if limit.key in (LimitKey.ROUTE, LimitKey.HEADER))
        """Those that need neither address nor caller."""
        self.rewrites = bool(route.rewrite or route.strip_prefix)
        self.max_body = route.max_body_bytes
        if service is not None:
            timeouts, retries = service.timeouts, service.retries
            self.connect_timeout, self.idle_timeout = timeouts.connect, timeouts.idle
            self.total_timeout = timeouts.total or 0.0
            self.response_timeout = timeouts.response if route.timeout is None else route.timeout
            self.replays = retries.attempts > 0 and retries.on != _CONNECT_ONLY
