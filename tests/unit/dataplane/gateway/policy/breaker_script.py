"""Circuit breakers as scripts: one breaker, and a clock that is set by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataplane.gateway.policy.breaker import Trial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import CircuitReport, Open, Outcome
from dataplane.gateway.policy.resources import Circuit

SUCCESS, FAILURE, ABANDONED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.ABANDONED
PLAIN = Circuit(
    failure_threshold=3,
    failure_ratio=0.5,
    failure_window=10.0,
    min_throughput=2,
    recovery_timeout=30.0,
    half_open_timeout=5.0,
    half_open_requests=1,
)


class Script:
    """One service's breaker, and a clock that is set by hand."""

    def __init__(self, circuit: Circuit = PLAIN, **changes: Any) -> None:
        self.now = 1000.0
        self.circuit = replace(circuit, **changes)
        self.breakers = Breakers()
        self.breakers.adopt({"svc": self.circuit})

    def at(self, now: float) -> Script:
        self.now = now
        return self

    def adopt(self, **changes: Any) -> None:
        self.circuit = replace(self.circuit, **changes)
        self.breakers.adopt({"svc": self.circuit})

    def admit(self) -> Trial:
        trial = self.breakers.admit("svc", self.now)
        assert not isinstance(trial, Open), f"refused for {trial.retry_after} s"
        return trial

    def refused(self) -> float:
        answer = self.breakers.admit("svc", self.now)
        assert isinstance(answer, Open)
        return answer.retry_after

    def request(self, outcome: Outcome, times: int = 1) -> None:
        for _ in range(times):
            self.admit().settle(outcome, self.now)

    def settle(self, trial: Trial, outcome: Outcome) -> None:
        trial.settle(outcome, self.now)

    def trip(self) -> Script:
        self.request(FAILURE, self.circuit.failure_threshold)
        assert self.state == "open"
        return self

    def half_open(self) -> Trial:
        """Trip, wait, and take the first trial."""
        self.trip()
        self.now += self.circuit.recovery_timeout
        trial = self.admit()
        assert self.state == "half_open"
        return trial

    @property
    def report(self) -> CircuitReport:
        (report,) = self.breakers.report(self.now)
        return report

    @property
    def state(self) -> str:
        return self.report.state
