"""Circuit breakers, one per service: stop asking a service that fails, and try again carefully.

How a breaker decides is in `circuit`, how requests are counted in `trials`. Here is the request path: a closed breaker
costs one look-up to admit and one addition to settle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dataplane.gateway.policy.circuit import Breaker
from dataplane.gateway.policy.circuit_report import CircuitReport, Open, State, Transition
from dataplane.gateway.policy.resources import Circuit
from dataplane.gateway.policy.trials import ClosedTrial, Outcome, Trial

__all__ = ["Breakers", "CircuitReport", "Open", "Outcome", "State", "Transition", "Trial"]

_MAX_LOG = 1000
"""Transitions kept for the shell; the oldest go first if it does not ask for them."""


class Breakers:
    """The breakers of all services."""

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}
        self._closed: dict[str, ClosedTrial] = {}
        """The shared trials of those that are closed; the breakers keep it up to date."""
        self._log: deque[Transition] = deque(maxlen=_MAX_LOG)

    def admit(self, service: str, now: float) -> Trial | Open:
        """Let a request to `service` through, or not. A service that was not adopted gets a breaker with defaults."""
        return self._closed.get(service) or self._breaker(service).admit(now)

    def closed(self, service: str) -> bool:
        """Whether requests to `service` are let through freely."""
        return service in self._closed

    def requests(self, service: str) -> int:
        """How many requests to `service` have ended so far; 0 for a service without breaker."""
        breaker = self._breakers.get(service)
        return breaker.requests if breaker is not None else 0

    def adopt(self, circuits: Mapping[str, Circuit]) -> None:
        """From now on these services have breakers, with these settings; the state is carried by name."""
        for service in self._breakers.keys() - circuits.keys():
            self._breakers.pop(service).retire()
            self._closed.pop(service, None)
        for service, circuit in circuits.items():
            breaker = self._breakers.get(service)
            if breaker is None:
                self._breakers[service] = Breaker(service, circuit, self._closed, self._log)
            elif breaker.circuit != circuit:
                breaker.adopt(circuit)

    def reset(self, service: str, now: float) -> None:
        """Close the breaker of `service` and forget its failures; does nothing for a service without one."""
        if service in self._breakers:
            self._breakers[service].reset(now)

    def report(self, now: float) -> list[CircuitReport]:
        """All breakers, by name."""
        return [self._breakers[service].report(now) for service in sorted(self._breakers)]

    def drain(self) -> list[Transition]:
        """The changes of state since the last call, oldest first."""
        changes = list(self._log)
        self._log.clear()
        return changes

    def _breaker(self, service: str) -> Breaker:
        if service not in self._breakers:
            self._breakers[service] = Breaker(service, Circuit(), self._closed, self._log)
        return self._breakers[service]
