"""The ports of listeners in the supervisor: bound before the workers get the change that needs them.

A port that cannot be bound is a problem of that change, and nothing else changes. Ports close once every worker serves
a table without them. A configuration from the cache is served without the ports that cannot be bound, which are tried
again: the alternative would be to serve nothing.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

from dataplane.config.table import Problem, Table
from dataplane.gateway.policy.resources import Listener
from dataplane.supervisor.listen import ListenError, TrafficPort
from dataplane.supervisor.process import WorkerProcess

_log = logging.getLogger(__name__)


class Ports:
    """The open ports. `workers` gives the running workers."""

    def __init__(
        self,
        host: str,
        workers: Callable[[], Iterable[WorkerProcess]],
        settings: Mapping[int, str] | None = None,
    ) -> None:
        """`settings`: the ports of the settings on this host. The system would share those out between both, as long
        as no worker listens on them."""
        self._settings = settings or {}
        self._host = host
        self._workers = workers
        self._bound: dict[int, TrafficPort] = {}
        self._closed = False
        self.missing: Mapping[int, str] = {}
        """Ports of the configuration from the cache that cannot be bound, with the reason."""

    @property
    def open(self) -> frozenset[int]:
        """The ports that are bound."""
        return frozenset(self._bound)

    def bind(self, table: Table) -> tuple[Problem, ...]:
        """Bind the table's new ports: all of them, or none and the problems. Ports that were missing before are no
        problem of this change, and stay missing."""
        if self._closed:
            return ()
        new, failed = self._tried(table)
        problems = tuple(problem for port, problem in failed.items() if port not in self.missing)
        if problems:
            for bound in new.values():
                bound.close()
        else:
            self._adopt(new, failed)
        return problems

    def bind_some(self, table: Table) -> None:
        """Bind those of the table's new ports that can be bound; the others are missing, and tried again."""
        if not self._closed:
            self._adopt(*self._tried(table))

    def retry(self, table: Table) -> None:
        """Try the missing ports again."""
        if self.missing:
            self.bind_some(table)
            for worker in self._workers():
                self.offer(worker)

    def offer(self, worker: WorkerProcess) -> None:
        """Pass the worker the sockets that it does not have yet."""
        new: dict[int, socket.socket] = {}
        for port in sorted(self.open - worker.ports):
            try:
                new[port] = self._bound[port].socket(worker.index)
            except ListenError as error:
                # Without descriptors, for instance. The other workers serve the port.
                _log.error("worker gets no socket", extra={"worker": worker.index, "error": str(error)})
        worker.pass_ports(new)

    def keep(self, table: Table) -> None:
        """Every worker serves this table: close the ports that it does not have."""
        closed = sorted(self.open.difference(table.sites))
        if not closed:
            return
        for worker in self._workers():
            worker.close_ports(closed)
        for port in closed:
            self._bound.pop(port).close()

    def release(self, index: int) -> None:
        """Close the sockets of a worker that starts again later, so that new connections go to the others."""
        for port in self._bound.values():
            port.release(index)

    def close(self) -> None:
        """Release the ports; running workers still accept connections."""
        for port in self._bound.values():
            port.close()
        self._bound, self.missing = {}, {}
        self._closed = True

    def _adopt(self, new: Mapping[int, TrafficPort], failed: Mapping[int, Problem]) -> None:
        missing = {port: problem.detail for port, problem in failed.items()}
        if missing and missing != self.missing:
            _log.error("listeners are not served: %s", "; ".join(missing.values()))
        self._bound |= new
        self.missing = missing

    def _tried(self, table: Table) -> tuple[dict[int, TrafficPort], dict[int, Problem]]:
        new: dict[int, TrafficPort] = {}
        failed: dict[int, Problem] = {}
        for port in sorted(set(table.sites) - self.open):
            # The first listener on the port.
            name = min(one.name for one in table.listeners.values() if one.port == port)
            try:
                if port in self._settings:
                    raise ListenError(f"is the port of the setting {self._settings[port]}")
                new[port] = TrafficPort(self._host, port, f"listener {name}")
            except ListenError as error:
                failed[port] = Problem(f"listener/{name}", "port", str(error))
        return new, failed


def ports_view(
    listeners: Mapping[str, Listener], opened: frozenset[int], missing: Mapping[int, str]
) -> Iterator[tuple[str, int, str]]:
    """Name and port of each listener, and the reason why it is not open; empty when it is."""
    for name, listener in sorted(listeners.items()):
        closed = "" if listener.port in opened else "is not open yet"
        yield name, listener.port, missing.get(listener.port, closed)
