"""Moves a failed exchange to another endpoint, as far as the retry policy and the service's budget allow."""

from __future__ import annotations

from collections.abc import Callable, Container

from dataplane.gateway.backends import Backends
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy import retry
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.resources import Service
from dataplane.proxy.exchange import Exchange
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
        plan, before = exchange.plan, exchange.endpoint
        if not isinstance(plan, Plan):
            # A copy: it is sent once.
            return None
        service = plan.service
        assert service is not None and before is not None
        made, unsent = exchange.attempts, cause == retry.CONNECT
        if not retry.wanted(plan.retries, cause, made):
            return None
        if not unsent and not self._repeatable(exchange, plan, service):
            return None
        endpoint = _another(plan, exchange, before)
        if endpoint is None or not (unsent or self._takes_budget(service)):
            return None
        if not cause.startswith("4"):
            # An instance that refuses a request has not failed.
            self._backends.failed(plan.backend, before, now)
        exchange.failures = (*exchange.failures, (now, cause))
        self._hand_over(exchange, before, endpoint)
        return retry.wait(cause, made, self._chance(), plan.retries.backoff, same=endpoint is before)

    def keep(self, services: Container[str]) -> None:
        """Forget the budgets of all other services."""
        self._budgets = {name: kept for name, kept in self._budgets.items() if name in services}

    def _repeatable(self, exchange: Exchange, plan: Plan, service: Service) -> bool:
        request = exchange.request
        assert request is not None
        at_hand = not request.length or exchange.replay is not None
        repeatable = retry.repeatable(request.method in plan.replayed, at_hand)
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


def _another(plan: Plan, exchange: Exchange, before: Endpoint) -> Endpoint | None:
    """The instance for another attempt: one that this request has not tried. If there is none and the route configures
    retries, one that it has."""
    balancer, address = plan.backend.balancer, exchange.address
    endpoint = balancer.another(address, (*exchange.tried, before))
    if endpoint is None and plan.retries_same:
        endpoint = balancer.another(address, (before,)) or balancer.pick(address)
    return endpoint
