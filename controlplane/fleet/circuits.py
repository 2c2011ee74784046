"""Reports of data planes on their breakers, by service. Pure.

A breaker is kept once it has counted a request or changed its state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from controlplane.fleet.reports import CircuitReport, CircuitState

ByNode = Mapping[str, CircuitReport]
NONE: ByNode = {}

MOST_SERVICES = 50_000
"""Services that are kept; others are dropped."""


class Circuits:
    """The last report of each data plane's breakers."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, CircuitReport]] = {}
        self.marks: list[set[str]] = []
        """Sets to which the names of services are added whose breakers changed, for streams to followers."""

    @property
    def found(self) -> Mapping[str, ByNode]:
        """By service, and then by node."""
        return self._found

    def of(self, service_name: str) -> ByNode:
        """One service's breakers by node."""
        return self._found.get(service_name, NONE)

    def take(self, node: str, reports: Iterable[CircuitReport], *, changes: bool) -> tuple[set[str], bool]:
        """Take a data plane's report of all its breakers, or of those that changed.

        Returns the services whose breakers differ now, and whether any changed its state.
        """
        touched: set[str] = set()
        turned = False
        listed: set[str] = set()
        for report in reports:
            before = self._found.get(report.service_name, NONE).get(node)
            listed.add(report.service_name)
            if report != before and (before is not None or _tells(report)) and self._has_room(report):
                self._found.setdefault(report.service_name, {})[node] = report
                touched.add(report.service_name)
                turned = turned or report.state is not (before.state if before else CircuitState.CLOSED)
        if not changes:
            touched |= self._drop(node, lambda report: report.service_name not in listed)
        self._mark(touched)
        return touched, turned

    def drop(self, node: str) -> set[str]:
        """The data plane is forgotten. Returns the services whose breakers it had reported."""
        touched = self._drop(node, lambda _: True)
        self._mark(touched)
        return touched

    def drop_details(self) -> None:
        """Forget closed breakers: they are reported only while looked at, so their counters would be out of date."""
        for service, by_node in list(self._found.items()):
            kept = {n: report for n, report in by_node.items() if report.state is not CircuitState.CLOSED}
            self._mark((service,))
            if kept:
                self._found[service] = kept
            else:
                del self._found[service]

    def _mark(self, services: Collection[str]) -> None:
        for marks in self.marks:
            marks.update(services)

    def _has_room(self, report: CircuitReport) -> bool:
        return report.service_name in self._found or len(self._found) < MOST_SERVICES

    def _drop(self, node: str, gone: Callable[[CircuitReport], bool]) -> set[str]:
        touched = set()
        for service, by_node in list(self._found.items()):
            if (report := by_node.get(node)) is not None and gone(report):
                del by_node[node]
                touched.add(service)
                if not by_node:
                    del self._found[service]
        return touched


def _tells(report: CircuitReport) -> bool:
    return bool(report.total_requests or report.last_state_change or report.state is not CircuitState.CLOSED)
