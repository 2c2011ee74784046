"""The prepared data of a route, used by the decision and by the engine for each exchange."""

from __future__ import annotations

from typing import Final

from dataplane.gateway.actions import Action, Consulting, Side
from dataplane.gateway.adjusting import Adjusting
from dataplane.gateway.backends import Backend, Backends
from dataplane.gateway.checks import Checks
from dataplane.gateway.limit_keys import needs_caller
from dataplane.gateway.policy import retry
from dataplane.gateway.policy.addresses import Gate
from dataplane.gateway.policy.concurrency import worker_share
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitMode, Retries, Route, Service
from dataplane.gateway.redis_checks import RedisChecks
from dataplane.gateway.store import Store
from dataplane.gateway.variables import prepared
from dataplane.proxy.content_coding import Codings
from dataplane.proxy.errors import NoneHealthy
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.trace import threshold
from dataplane.proxy.messages import IDEMPOTENT

_CONNECT_ONLY: Final = frozenset({retry.CONNECT})
_NO_RETRIES: Final = Retries(0)


class Plan(Side):
    """A route with everything a decision on it needs, prepared when the route is first used."""

    __slots__ = (
        "action",
        "authorizer",
        "backend",
        "cors",
        "early",
        "early_in_redis",
        "gate",
        "late",
        "late_in_redis",
        "max_in_flight",
        "preflights",
        "retries",
        "retries_same",
        "rewrites",
        "route",
        "service",
    )

    def __init__(
        self,
        route: Route,
        service: Service | None,
        backend: Backend,
        default_limit: Limit | None,
        limiter: Limiter,
        store: Store,
    ) -> None:
        super().__init__(route.name, service.name if service is not None else route.service)
        self.action: Action | None = None
        """What happens to its requests before they are sent to `service`, or instead."""
        self.authorizer: Consulting | None = None
        """Asks a service about its requests."""
        limits = (default_limit, *route.limits) if default_limit is not None else route.limits
        early = [limit for limit in limits if not needs_caller(limit)]
        late = [limit for limit in limits if needs_caller(limit)]
        self.route = route
        self.service = service
        self.backend = backend
        self.early = Checks(_in_workers(early), route.name, limiter)
        """The limits that need no caller: taken before the caller is authenticated."""
        self.late = Checks(_in_workers(late), route.name, limiter)
        self.early_in_redis: RedisChecks | None = None
        """Those of them that are counted in Redis, if there are any."""
        self.late_in_redis: RedisChecks | None = None
        if shared := _in_redis(early):
            self.early_in_redis = RedisChecks(shared, route.name, limiter, store)
        if shared := _in_redis(late):
            self.late_in_redis = RedisChecks(shared, route.name, limiter, store)
        told = frozenset(limit.cost_header.encode("latin-1") for limit in limits if limit.cost_header)
        self.withheld = told or None
        self.max_in_flight = 0
        """This worker's share of the requests that may be under way at the service; 0: any number."""
        forwarding = route.forwarding
        self.rewrites = bool(route.rewrite or route.strip_prefix)
        self.cors: Cors | None = None
        """Answers to preflights, and fields for scripts of other origins."""
        self.preflights: Plan | None = None
        """The same for preflights; None on a route without CORS."""
        self.gate: Gate | None = None
        """The addresses that may use the route."""
        if forwarding is not None:
            self.rewrites = self.rewrites or bool(forwarding.path)
            self.authority = forwarding.host.encode("latin-1")
            self.cors = forwarding.cors
            if forwarding.addresses is not None:
                self.gate = Gate(forwarding.addresses)
            if (wanted := forwarding.compression) is not None:
                self.encoding = Codings(wanted.encodings, wanted.media_types, wanted.min_bytes)
            if forwarding.request_edits is not None:
                self.request_edits = prepared(forwarding.request_edits, route.name)
            if forwarding.response_edits is not None or forwarding.cors is not None:
                self.response_edits = prepared(
                    forwarding.response_edits or HeaderEdits(), route.name, forwarding.cors
                )
        if route.trace_sampling is not None:
            self.sampled = threshold(route.trace_sampling)
        self.max_body = route.max_body_bytes
        self.total_timeout = route.request_timeout or 0.0
        self.try_timeout = route.try_timeout
        if service is not None:
            timeouts = service.timeouts
            self.connect_timeout, self.idle_timeout = timeouts.connect, timeouts.idle
            if route.request_timeout is None:
                self.total_timeout = timeouts.total or 0.0
            # Where the route limits the whole, the service's time for a part of it does not count.
            self.response_timeout = (
                route.timeout or route.try_timeout or route.request_timeout or timeouts.response
            )
            if service.max_in_flight:
                self.max_in_flight = worker_share(service.max_in_flight, limiter.share)
        self.retries = route.retries or (service.retries if service is not None else _NO_RETRIES)
        self.retries_same = route.retries is not None
        """The same instance may be asked again, if there is no other."""
        if self.retries.attempts > 0 and self.retries.on != _CONNECT_ONLY:
            self.replayed = self.retries.methods or IDEMPOTENT
            self.retries_refusals = any(cause.startswith("4") for cause in self.retries.on)
        adjusting = Adjusting(route, backend, self.max_in_flight, self.cors, rewrites=self.rewrites)
        if adjusting.needed:
            self.action = adjusting

    def take(self, exchange: Exchange) -> object | None:
        return None if self.action is None else self.action.take(exchange)

    def none_healthy(self) -> NoneHealthy:
        """The refusal while no instance of its service takes requests."""
        assert self.service is not None
        return NoneHealthy(self.service.name, self.service.health_check.interval)

    def refresh(self, backends: Backends) -> None:
        self.backend = backends.get(self.service_name)
        if self.action is not None:
            self.action.refresh(backends)


def _in_workers(limits: list[Limit]) -> list[Limit]:
    return [limit for limit in limits if limit.mode is not LimitMode.REDIS]


def _in_redis(limits: list[Limit]) -> list[Limit]:
    return [limit for limit in limits if limit.mode is LimitMode.REDIS]
