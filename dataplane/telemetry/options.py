"""Where telemetry goes: what the settings say, ready to be used. Off where nothing is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SIGNALS: Final = ("traces", "metrics", "logs")


@dataclass(frozen=True, slots=True)
class Target:
    """The collector of one signal."""

    endpoint: str
    """A URL with the path of the signal for HTTP, host:port for gRPC."""
    grpc: bool
    tls: bool
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names, lower case, and values, which may be secrets."""
    timeout: float = 10.0
    """Seconds for one attempt."""
    gzip: bool = False
    ca: Path | None = None
    """Authority of the collector's certificate, PEM; None: the system's."""
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """Bounds of what waits to be exported."""

    size: int = 32_768
    """Spans or log records that may wait; more are dropped and counted."""
    batch: int = 2048
    """Most of them in one message."""
    delay: float = 1.0
    """Seconds after which a smaller message is sent."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The head sampler of traces."""

    ratio: float = 1.0
    """Share of the traces begun here that are recorded."""
    parent_based: bool = True
    """The sampled flag of a trusted traceparent decides instead."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """All of it."""

    traces: Target | None = None
    metrics: Target | None = None
    logs: Target | None = None
    resource: tuple[tuple[str, str], ...] = ()
    """Attributes of this process, beside those that it knows itself."""
    sampling: Sampling | None = None
    """None: as TRACE_SAMPLING says."""
    spans: Queue = Queue()
    records: Queue = Queue()
    metric_interval: float = 60.0
    """Seconds between two messages of metrics."""

    @property
    def on(self) -> bool:
        """Whether anything is exported."""
        return any((self.traces, self.metrics, self.logs))


OFF: Final = Telemetry()
