"""The supervisor's end of telemetry: takes what workers have finished, and exports it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from dataplane.channel import Kind
from dataplane.telemetry.envelope import Envelope, describe
from dataplane.telemetry.exporter import Exporter
from dataplane.telemetry.metrics import Moment, write
from dataplane.telemetry.options import Queue, Target, Telemetry
from dataplane.telemetry.outbox import read_frame
from dataplane.telemetry.service_log import ServiceLog
from dataplane.telemetry.transport import Transport, connect

FLUSH: Final = 3.0
"""Most seconds for which the end of the process waits for the collector."""
MOST_POINTS: Final = 1_000_000
"""Data points of metrics that may wait."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes that may wait for the collector (TELEMETRY_QUEUE_BYTES)."""
SHARES: Final[Mapping[str, int]] = {"traces": 3, "logs": 3, "metrics": 2}
"""Of these bytes, among the signals that are exported: a collector that takes no spans must not cost metrics."""
KINDS: Final[Mapping[Kind, str]] = {Kind.SPANS: "traces", Kind.LOG_RECORDS: "logs"}
"""The signal of each kind of frame."""

Connect = Callable[[str, Target], Transport]


class NodeTelemetry:
    """The exporters of one data plane."""

    def __init__(
        self,
        telemetry: Telemetry,
        node: str,
        version: str,
        connect: Connect = connect,
        most: int = MOST_BYTES,
    ) -> None:
        """At most `most` bytes wait for the collector. Raises OSError when a file of the settings cannot be read."""
        envelope = Envelope(describe(node, version, telemetry.resource), version)
        signals: tuple[tuple[str, Target | None, Queue], ...] = (
            ("traces", telemetry.traces, telemetry.spans),
            ("logs", telemetry.logs, telemetry.records),
            # Each message has all metrics: none waits for more of them.
            ("metrics", telemetry.metrics, Queue(MOST_POINTS, 1, 1.0)),
        )
        self._interval = telemetry.metric_interval
        all_shares = sum(SHARES[signal] for signal, target, _ in signals if target is not None)
        self._exporters = {
            signal: Exporter(
                signal, connect(signal, target), envelope, queue, most=most * SHARES[signal] // all_shares
            )
            for signal, target, queue in signals
            if target is not None
        }
        self._handler: ServiceLog | None = None
        if (logs := self._exporters.get("logs")) is not None:
            self._handler = ServiceLog(lambda line: logs.put(1, line))

    def start(self) -> None:
        """Begin to export."""
        if self._handler is not None:
            logging.getLogger().addHandler(self._handler)
        for exporter in self._exporters.values():
            exporter.start()

    async def run(self, moment: Callable[[], Moment]) -> None:
        """Export the metrics of `moment` again and again, where they are exported."""
        while "metrics" in self._exporters:
            await asyncio.sleep(self._interval)
            await self.measure(moment())

    async def measure(self, moment: Moment) -> None:
        """Export the metrics of a moment."""
        if (exporter := self._exporters.get("metrics")) is not None:
            exporter.put(*await asyncio.to_thread(write, moment))

    @property
    def measures(self) -> bool:
        """Whether metrics are exported."""
        return "metrics" in self._exporters

    def take(self, kind: Kind, payload: bytes) -> None:
        """Export what a worker has finished. Raises ValueError for an invalid frame."""
        exporter = self._exporters.get(KINDS[kind])
        if exporter is not None:
            exporter.put(*read_frame(payload))

    def counts(self) -> dict[str, tuple[int, int]]:
        """By signal: items that were exported, and items that were lost here."""
        return {name: (each.exported, each.dropped) for name, each in self._exporters.items()}

    async def close(self) -> None:
        """Export what waits, for at most FLUSH seconds."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        closing = (asyncio.to_thread(each.close, FLUSH) for each in self._exporters.values())
        await asyncio.gather(*closing)
