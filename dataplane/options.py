"""The options of a worker process: plain values without secrets, as JSON on its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from dataplane.proxy.bounds import Bounds


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
    access_log: bool
    drain_timeout: float
    """Seconds that requests in flight have left once draining began."""
    rate_limit_per_second: float
    """Coarse limit for each client address over all workers; 0 switches it off."""
    rate_limit_burst: int
    trusted_proxies: tuple[str, ...]
    """Networks whose X-Forwarded-For is trusted."""
    status_host: str
    status_port: int
    expose_metrics: bool
    trace_sampling: float = 1.0
    """Share of new traces that are marked as sampled."""
    send_via: bool = True
    """Whether forwarded requests tell of the gateway in Via."""
    proxy_protocol_from: tuple[str, ...] = ()
    """Networks whose connections begin with a PROXY header."""
    register_allow: tuple[str, ...] = ()
    """Networks that names of instances may resolve to although they are special."""
    tls_listen_fd: int = -1
    """The same for the TLS address; -1 without one. Certificates arrive over the channel."""
    bounds: Bounds = field(default_factory=Bounds)
    limit_secret: str = field(default="", repr=False)
    """Hides values of headers that limits count by; hexadecimal. Derived, so that it gives nothing else away."""

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerOptions:
        """What `to_json` gave."""
        fields = json.loads(text)
        fields["trusted_proxies"] = tuple(fields["trusted_proxies"])
        fields["proxy_protocol_from"] = tuple(fields["proxy_protocol_from"])
        fields["register_allow"] = tuple(fields["register_allow"])
        bounds = fields["bounds"]
        fields["bounds"] = Bounds(**{**bounds, "strip": tuple(bounds["strip"])})
        return cls(**fields)
