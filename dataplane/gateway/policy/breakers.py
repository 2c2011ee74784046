"""The circuit breakers of all services, by name. On the request path a closed one costs one look-up to admit."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from dataplane.gateway.policy.breaker import Breaker, ClosedTrial, Trial
from dataplane.gateway.policy.circuit import CircuitReport, Open, Transition
from dataplane.gateway.policy.resources import Circuit

_MAX_LOG: Final = 1000
"""Transitions kept until `drain`; the oldest are dropped first."""


class Breakers:
    """The breakers of all services."""

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}
        self._closed: dict[str, ClosedTrial] = {}
        """The shared trial of every closed breaker, by service; the breakers maintain it."""
        self._log: deque[Transition] = deque(maxlen=_MAX_LOG)

    def admit(self, service: str, now: float) -> Trial | Open:
        """Admit a request to `service`, or refuse. A service that was not adopted gets a breaker with defaults."""
        return self._closed.get(service) or self._breaker(service).admit(now)

    def twin(self, service: str) -> Breaker | None:
        """A copy of the breaker of `service` that shares nothing with it; None without one."""
        breaker = self._breakers.get(service)
        return None if breaker is None else breaker.twin()

    def closed(self, service: str) -> bool:
        """Whether the breaker of `service` is closed."""
        return service in self._closed

    def requests(self, service: str) -> int:
        """Requests to `service` that have ended; 0 for a service without a breaker."""
        breaker = self._breakers.get(service)
        return breaker.requests if breaker is not None else 0

    def adopt(self, circuits: Mapping[str, Circuit]) -> None:
        """Use these settings from now on. State is carried over by name; breakers of other services are dropped."""
        for service in self._breakers.keys() - circuits.keys():
            self._breakers.pop(service).retire()
            self._closed.pop(service, None)
        for service, circuit in circuits.items():
            breaker = self._breakers.get(service)
            if breaker is None:
                self._breakers[service] = Breaker(service, circuit, self._closed, self._log)
            elif breaker.circuit != circuit:
                breaker.adopt(circuit)

    def excuse(self, service: str, failures: int, now: float) -> None:
        """Remove this many failures from the window of `service`, if closed: they were one instance's."""
        period = self._closed.get(service)
        if period is not None:
            self._breakers[service].excuse(period.excuse(failures, now))

    def reset(self, service: str, now: float) -> None:
        """Close the breaker of `service` and forget its failures; no effect without one."""
        if service in self._breakers:
            self._breakers[service].reset(now)

    def report(self, now: float) -> list[CircuitReport]:
        """Every breaker, sorted by service."""
        return [self._breakers[service].report(now) for service in sorted(self._breakers)]

    def changes(self, now: float) -> list[CircuitReport]:
        """Reports of the breakers that differ from their last one; costs next to nothing for quiet services."""
        found = []
        for breaker in self._breakers.values():
            report = breaker.changed_report(now)
            if report is not None:
                found.append(report)
        return found

    def drain(self) -> list[Transition]:
        """The transitions since the last call, oldest first."""
        changes = list(self._log)
        self._log.clear()
        return changes

    def _breaker(self, service: str) -> Breaker:
        if service not in self._breakers:
            self._breakers[service] = Breaker(service, Circuit(), self._closed, self._log)
        return self._breakers[service]
