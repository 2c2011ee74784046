"""The options of a worker process: plain values without secrets, as JSON on its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from dataplane.proxy.bounds import Bounds


@dataclass(frozen=True, slots=True)
class AccessLogOptions:
    """Destination and content of the access log."""

    file: str = ""
    """Empty: stdout."""
    format: str = "json"
    """As `observe.line_format.read_format` reads it."""
    fields: tuple[str, ...] = ()
    sampling: float = 1.0
    """Share of good requests that are logged, 0 to 1."""
    redact: tuple[str, ...] = ()
    """Headers and query parameters, besides the usual ones, whose values are not shown."""


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """What a worker writes for OpenTelemetry."""

    traces: bool = False
    metrics: bool = False
    logs: bool = False
    """The log of the service."""
    access_log: bool = False
    """The access log, too."""
    access_log_sampling: float = 1.0
    """Share of good requests that are logged, 0 to 1."""
    redact: tuple[str, ...] = ()
    """Query parameters, besides the usual ones, whose values are not shown."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Everything a worker needs except its configuration. File descriptors are inherited."""

    node: str
    index: int
    """0 to workers - 1."""
    workers: int
    control_fd: int
    """The worker's end of the channel."""
    listen_fd: int
    """Bound to the traffic address with SO_REUSEPORT, not listening yet."""
    level: str
    access_log: AccessLogOptions | None
    drain_timeout: float
    """Seconds from the start of a drain after which requests in flight are aborted."""
    rate_limit_per_second: float
    """Requests a second from one client address, over all workers; 0: no limit."""
    rate_limit_burst: int
    trusted_proxies: tuple[str, ...]
    """Networks whose X-Forwarded-For is trusted."""
    status_host: str
    status_port: int
    expose_metrics: bool
    trace_sampling: float = 1.0
    """Share of new traces that are marked as sampled, 0 to 1."""
    trace_parents: bool = True
    """Whether the sampled flag of a traceparent counts (`fields.trace.Parents`)."""
    trace_client_sampling: bool = False
    """Whether it also counts if no trusted proxy sends it."""
    telemetry: TelemetryOptions = TelemetryOptions()
    send_via: bool = True
    """Whether forwarded requests get a Via field (RFC 9110, section 7.6.3)."""
    proxy_protocol_from: tuple[str, ...] = ()
    """Networks whose connections begin with a PROXY header."""
    register_allow: tuple[str, ...] = ()
    """Special-purpose networks that instance host names may resolve to, for instance loopback."""
    register_deny: tuple[str, ...] = ()
    """Networks that they must not resolve to."""
    unix_sockets: tuple[str, ...] = ()
    """Folders in which instances may listen on Unix sockets."""
    ports_fd: int = -1
    """The worker's end of the socket pair over which the supervisor passes sockets of listeners; -1 without one."""
    folder_fd: int = -1
    """The folder of the cached configuration, -1 without one: locked as long as a process that may spend leased tokens
    has it open."""
    tls_listen_fd: int = -1
    """Like listen_fd, for the TLS address; -1 without one. Certificates arrive over the channel."""
    rate_limit_mode: str = "local"
    """The place that counts RATE_LIMIT_PER_SECOND: local, fleet or redis."""
    rate_limit_on_store_failure: str = "open"
    """The policy while Redis does not answer: open, closed or local."""
    redact: tuple[str, ...] = ()
    """Headers and query parameters, besides the usual ones, whose values no tap shows."""
    bounds: Bounds = field(default_factory=Bounds)
    limit_secret: str = field(default="", repr=False)
    """Key of the hash that replaces header values in rate limit keys: 32 bytes, hexadecimal."""

    def to_json(self) -> str:
        """Serialize for the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerOptions:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        fields["trusted_proxies"] = tuple(fields["trusted_proxies"])
        fields["proxy_protocol_from"] = tuple(fields["proxy_protocol_from"])
        fields["register_allow"] = tuple(fields["register_allow"])
        fields["register_deny"] = tuple(fields["register_deny"])
        fields["unix_sockets"] = tuple(fields["unix_sockets"])
        fields["redact"] = tuple(fields["redact"])
        if (log := fields["access_log"]) is not None:
            lists = {"fields": tuple(log["fields"]), "redact": tuple(log["redact"])}
            fields["access_log"] = AccessLogOptions(**{**log, **lists})
        telemetry = fields["telemetry"]
        fields["telemetry"] = TelemetryOptions(**{**telemetry, "redact": tuple(telemetry["redact"])})
        bounds = fields["bounds"]
        fields["bounds"] = Bounds(**{**bounds, "strip": tuple(bounds["strip"])})
        return cls(**fields)
