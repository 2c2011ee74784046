"""The circuit breaker of one service, as an object that can be read and reset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headgate.models import CircuitConfig, CircuitReport, CircuitState, CircuitStats, CircuitView
from headgate.transport import Transport
from headgate.wire import decode_circuit
from headgate_api.v1 import registry_pb2


class CircuitBreaker:
    """The breaker in front of one service, over the whole fleet. The same object follows its changes."""

    def __init__(self, view: CircuitView, transport: Transport) -> None:
        """Made by the watch."""
        self._view = view
        self._transport = transport

    @property
    def service_name(self) -> str:
        """The service that it protects the gateway from."""
        return self._view.service_name

    @property
    def state(self) -> CircuitState:
        """The worst state that any data plane reports."""
        return self._view.fleet.state

    @property
    def last_state_change(self) -> datetime | None:
        """Time of the last change of state at any data plane (UTC); None if there was none."""
        return self._view.fleet.last_state_change

    @property
    def stats(self) -> CircuitStats:
        """Requests since the data planes started, summed."""
        return self._view.fleet.stats

    @property
    def config(self) -> CircuitConfig:
        """When it opens, and how it tries again."""
        return self._view.config

    @property
    def recent_failures(self) -> int:
        """Failures within the current window, summed, as of the last message."""
        return self._view.fleet.recent_failures

    @property
    def reason(self) -> str:
        """The last transition in words, for instance "Circuit opened after 5 failures"."""
        return self._view.fleet.reason

    @property
    def dataplanes(self) -> Mapping[str, CircuitReport]:
        """The same for each data plane, by node name."""
        return self._view.dataplanes

    async def reset(self) -> None:
        """Close the breaker on every data plane; `state` changes once they have reported. Needs gateway:admin."""
        request = registry_pb2.ResetCircuitRequest(service_name=self.service_name)
        await self._transport.call(lambda stub: stub.ResetCircuit, request)

    async def refresh(self) -> None:
        """Read the current numbers now instead of waiting for the next message."""
        response = await self._transport.call(
            lambda stub: stub.ListCircuits, registry_pb2.ListCircuitsRequest()
        )
        for view in response.circuits:
            if view.circuit.service_name == self.service_name:
                self._view = decode_circuit(view)

    async def _get_recent_failures(self) -> int:
        """Failures within the current window, read now. The troubleshooting guide uses this name."""
        await self.refresh()
        return self.recent_failures

    def adopt(self, view: CircuitView) -> None:
        """Show a newer view; called by the watch."""
        self._view = view

    def __repr__(self) -> str:
        """State and counters, for people."""
        return f"<CircuitBreaker {self.service_name} {self.state} {self.stats}>"
