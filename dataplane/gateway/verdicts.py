"""The verdict of an exchange that ended: what its service's breaker and the ejector of instances hear of it."""

from __future__ import annotations

from typing import Final, cast

from dataplane.gateway.backends import Backend, Backends
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.breaker import Trial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import Outcome
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.pool import Endpoint

_ANSWERED: Final = Result.ANSWERED
_FAILED: Final = Result.FAILED
_SUCCESS: Final = Outcome.SUCCESS
_FAILURE: Final = Outcome.FAILURE
_ABANDONED: Final = Outcome.ABANDONED
_EXCUSED: Final = Outcome.EXCUSED
_BLAMELESS: Final = (501, 505)
"""Answers of an instance to a method or version that it does not know. Any caller can send one, and would open the
breaker for all callers."""


class Verdicts:
    """Those of one worker."""

    def __init__(self, backends: Backends, breakers: Breakers) -> None:
        self._backends = backends
        self._breakers = breakers

    def settle(self, exchange: Exchange, now: float) -> None:
        """Report the outcome to the breaker and the ejector. A 5xx that is no `_BLAMELESS` counts as a failure."""
        result = exchange.result
        if result is _ANSWERED and exchange.status < 500:
            outcome = _SUCCESS
        elif result is _ANSWERED:
            outcome = _ABANDONED if exchange.status in _BLAMELESS else _FAILURE
        else:
            outcome = _FAILURE if result is _FAILED else _ABANDONED
        backend, endpoint = cast(Plan, exchange.plan).backend, exchange.endpoint
        if endpoint is not None:
            if outcome is _FAILURE:
                outcome = self._blame(backend, endpoint, now)
            elif backend.ejector.streaks and outcome is _SUCCESS and not endpoint.retired:
                backend.ejector.succeeded(endpoint.id)
        cast(Trial, exchange.trial).settle(outcome, now)

    def _blame(self, backend: Backend, endpoint: Endpoint, now: float) -> Outcome:
        """Charge a failure to the service, or to the instance alone if it is ejected, with its failures before.

        Neither an instance that has left is charged, nor another one that now has its name.
        """
        if endpoint.retired:
            return _EXCUSED
        failures = self._backends.failed(backend, endpoint, now)
        if failures > 1:
            self._breakers.excuse(backend.name, failures - 1, now)
        return _EXCUSED if endpoint.id in backend.ejector.ejected else _FAILURE
