"""Moves a failed exchange to another endpoint, as far as the service's retry policy and budget allow."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import cast

from dataplane.gateway.backends import Backends
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy import retry
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.resources import Service
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import IDEMPOTENT
from dataplane.proxy.pool import Endpoint, Pool


class Retrier:
    """Those of one worker."""

    def __init__(
        self, backends: Backends, breakers: Breakers, pool: Pool, chance: Callable[[], float]
    ) -> None:
        """`chance` is uniform in [0, 1), for back-offs."""
        self._backends = backends
        self._breakers = breakers
        self._pool = pool
        self._chance = chance
        self._budgets: dict[str, retry.Budget] = {}

    def move(self, exchange: Exchange, cause: str, now: float) -> float | None:
        """As `Decider.retry`."""
        plan, before = cast(Plan, exchange.plan), exchange.endpoint
        service = plan.service
        assert service is not None and before is not None
        made, unsent = exchange.attempts, cause == retry.CONNECT
        if not retry.wanted(service.retries, cause, made):
            return None
        if not unsent and not self._repeatable(exchange, service):
            return None
        endpoint = plan.backend.balancer.another(exchange.address, (*exchange.tried, before))
        if endpoint is None or not (unsent or self._takes_budget(service)):
            return None
        self._backends.failed(plan.backend, before, now)
        exchange.failures = (*exchange.failures, (now, cause))
        self._hand_over(exchange, before, endpoint)
        return retry.wait(cause, made, self._chance())

    def keep(self, services: Container[str]) -> None:
        """Forget the budgets of all other services."""
        self._budgets = {name: kept for name, kept in self._budgets.items() if name in services}

    def _repeatable(self, exchange: Exchange, service: Service) -> bool:
        request = exchange.request
        assert request is not None
        at_hand = not request.length or exchange.replay is not None
        repeatable = retry.repeatable(request.method in IDEMPOTENT, at_hand)
        return repeatable and self._breakers.closed(service.name)

    def _takes_budget(self, service: Service) -> bool:
        """Take one retry from the service's budget; False if there is none."""
        budget = self._budgets.setdefault(service.name, retry.Budget())
        return budget.take(service.retries.budget, self._breakers.requests(service.name))

    def _hand_over(self, exchange: Exchange, before: Endpoint, endpoint: Endpoint) -> None:
        exchange.tried = (*exchange.tried, before)
        exchange.attempts += 1
        exchange.endpoint = endpoint
        endpoint.in_flight += 1
        before.in_flight -= 1
        if before.leaving:
            self._pool.settle(before)
