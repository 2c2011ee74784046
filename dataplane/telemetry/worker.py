"""A worker's end of telemetry: the observers that write what is exported, and their way to the supervisor."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

from dataplane.channel import Kind
from dataplane.options import WorkerOptions
from dataplane.proxy.fields.trace import threshold
from dataplane.telemetry.access_records import RecordWriter
from dataplane.telemetry.measured import Measured, active_requests
from dataplane.telemetry.observers import AccessRecords, Observer, Tracing
from dataplane.telemetry.outbox import Link, Outbox
from dataplane.telemetry.service_log import ServiceLog
from dataplane.telemetry.spans import SpanWriter

MOST_LINES: Final = 1000
"""Lines of the service's log that may wait for the second to pass; older ones are dropped and counted."""


class _Clock(Protocol):
    def set_clock(self) -> None: ...


class WorkerTelemetry:
    """The telemetry of one worker. Without an export, `observer` is the given one, and the rest does nothing."""

    def __init__(self, options: WorkerOptions, link: Link, observer: Observer) -> None:
        self.observer = observer
        """Called with every exchange that ended."""
        self._outboxes: dict[str, Outbox] = {}
        self._clocks: list[_Clock] = []
        self._handler: ServiceLog | None = None
        self._lines: deque[bytes] = deque()
        self._measured: Measured | None = None
        self._tracing: Tracing | None = None
        self._reported: dict[str, int] = {}
        telemetry, sampled = options.telemetry, threshold(options.trace_sampling)
        if telemetry.traces:
            outbox = self._outboxes["traces"] = Outbox(link, Kind.SPANS)
            spans = SpanWriter(telemetry.redact)
            self._clocks.append(spans)
            self.observer = self._tracing = Tracing(self.observer, spans, outbox, sampled)
        if telemetry.metrics:
            self.observer = self._measured = Measured(self.observer)
        if telemetry.logs:
            outbox = self._outboxes["logs"] = Outbox(link, Kind.LOG_RECORDS)
            self._handler = ServiceLog(self._keep, worker=options.index)
            logging.getLogger().addHandler(self._handler)
            if telemetry.access_log:
                records = RecordWriter(telemetry.redact)
                self._clocks.append(records)
                logged = threshold(telemetry.access_log_sampling)
                self.observer = AccessRecords(self.observer, records, outbox, logged, sampled)

    def flush(self) -> None:
        """Pass on what has been collected. Call it about once a second, and at the end."""
        for writer in self._clocks:
            writer.set_clock()
        while self._lines:
            self._outboxes["logs"].add(self._lines.popleft(), 1)
        for outbox in self._outboxes.values():
            outbox.flush()

    def close(self) -> None:
        """Pass on the rest."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        self.flush()

    def report(self, connections: Iterable[object] = ()) -> dict[str, Any]:
        """What the frame of statistics says of it, since the last one. `connections` are those of clients."""
        found: dict[str, Any] = {}
        if self._outboxes:
            before, self._reported = (
                self._reported,
                {name: box.dropped for name, box in self._outboxes.items()},
            )
            lost = {name: count - before.get(name, 0) for name, count in self._reported.items()}
            found["telemetry_dropped"] = {name: count for name, count in lost.items() if count}
        if self._tracing is not None:
            found["exemplars"] = self._tracing.exemplars()
        if self._measured is not None:
            found["http"] = self._measured.report()
            found["active"] = active_requests(connections)
        return found

    def _keep(self, line: bytes) -> None:
        """Called by any thread."""
        if len(self._lines) < MOST_LINES:
            self._lines.append(line)
        else:
            self._outboxes["logs"].dropped += 1
