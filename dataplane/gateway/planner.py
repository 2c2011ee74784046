"""Prepares the plans of routes, each when its route is first used."""

from __future__ import annotations

from collections.abc import Container, Mapping
from zlib import crc32

from dataplane.gateway import preflights
from dataplane.gateway.actions import Action, Answering, Redirecting, Splitting, Unusable, responding
from dataplane.gateway.backends import Backends
from dataplane.gateway.mirrors import Mirrors
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, Route, Service
from dataplane.gateway.policy.weights import Points
from dataplane.gateway.preflights import route_of
from dataplane.gateway.store import Store
from dataplane.gateway.variables import claims_in


class Planner:
    """Makes plans, and keeps what outlives them: how far the shares of routes have come."""

    def __init__(
        self,
        backends: Backends,
        limiter: Limiter,
        default_limit: Limit | None,
        start: int,
        mirrors: Mirrors | None = None,
    ) -> None:
        """`start` keeps workers out of step; without `mirrors` no plan copies requests."""
        self._points: dict[str, Points] = {}
        """By route."""
        self._backends = backends
        self._limiter = limiter
        self._default_limit = default_limit
        self._start = start
        self._mirrors = mirrors

    def plan(self, route: Route, services: Mapping[str, Service], store: Store) -> Plan:
        """A plan with these services, and limits that are counted in this store."""
        plan = self._to(route, route.service, services, store)
        forwarding = route.forwarding
        if forwarding is not None:
            if forwarding.cors is not None:
                plan.preflights = self._to(route_of(route), "", services, store)
                plan.preflights.action = preflights.Answering(forwarding.cors)
            action = _answering(route, forwarding)
            if action is None and forwarding.shares:
                action = self._splitting(route, forwarding, services, store)
            if action is not None:
                plan.action = action
            if forwarding.mirrors and self._mirrors is not None and not forwarding.unusable:
                share = self._limiter.share
                plan.action = self._mirrors.action(plan, forwarding.mirrors, services, share)
        return plan

    def unusable(self, route: Route, reason: str, store: Store) -> Plan:
        """The plan of a route whose own cannot be made: its requests are answered with 500."""
        plan = self._to(Route(route.name, "", prefix="/", public=True), "", {}, store)
        plan.route = route
        plan.action = Answering(Unusable(reason))
        return plan

    def inquiries(self, route: Route, services: Mapping[str, Service], store: Store) -> Plan:
        """The plan of requests to the service that a route asks."""
        return self._to(Route(route.name, route.asked, prefix="/", public=True), route.asked, services, store)

    def twin(self, backends: Backends, limiter: Limiter) -> Planner:
        """One that makes plans to these, and whose shares have come as far."""
        twin = Planner(backends, limiter, self._default_limit, self._start)
        twin._points = {name: points.twin() for name, points in self._points.items()}
        return twin

    def keep(self, routes: Container[str]) -> None:
        """Forget all other routes."""
        self._points = {name: kept for name, kept in self._points.items() if name in routes}

    def _to(self, route: Route, name: str, services: Mapping[str, Service], store: Store) -> Plan:
        service, backend = services.get(name), self._backends.get(name)
        return Plan(route, service, backend, self._default_limit, self._limiter, store)

    def _splitting(
        self, route: Route, forwarding: Forwarding, services: Mapping[str, Service], store: Store
    ) -> Action:
        sides = [
            self._to(route, one.service, services, store) if one.service else None
            for one in forwarding.shares
        ]
        points = self._points.get(route.name)
        if points is None:
            points = self._points[route.name] = Points(self._start * 0.5 + crc32(route.name.encode()) / 2**32)
        return Splitting(sides, [one.weight for one in forwarding.shares], points, forwarding.sticky)


def claims_shown(route: Route) -> frozenset[str]:
    """The claims that the route's edits of header fields name."""
    forwarding = route.forwarding
    if forwarding is None:
        return frozenset()
    return claims_in(forwarding.request_edits) | claims_in(forwarding.response_edits)


def _answering(route: Route, forwarding: Forwarding) -> Action | None:
    """The action of a route that sends nothing to services; None for another one."""
    if forwarding.unusable:
        return Answering(Unusable(forwarding.unusable))
    if forwarding.respond is not None:
        return responding(forwarding.respond)
    if forwarding.redirect is not None:
        return Redirecting(forwarding.redirect, route.prefix)
    return None
