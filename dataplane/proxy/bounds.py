"""Bounds of the HTTP engine, with their defaults: the most that one client or instance can cost a worker.

Each can be set (`dataplane.settings`); docs/explanation/http.md has a table with the response to each exceeded bound.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds, all for one worker. Times are kept to within one tick (`deadlines.TICK`)."""

    head: int = 65_536
    """Bytes of a head or a trailer section. A longer request head gets 431, a longer response head 502."""
    fields: int = 128
    """Fields in a request's head (more: 431), and in a response's trailers (more: the body is cut off)."""
    target: int = 8_192
    """Bytes of a request target (more: 414)."""
    framing: int = 16_384
    """Bytes of chunked framing (extensions, trailers) beyond eight for each byte of data."""
    connections: int = 20_000
    """Open client connections. More get 503 and are closed; with TLS, they are closed without a response."""
    connections_per_address: int = 2_000
    """Open client connections of one peer address, or of a /64 of IPv6; trusted proxies excepted. 0: no limit."""
    requests: int = 100_000
    """Requests on one connection; the response to the last one has Connection: close."""
    handshake_timeout: float = 10.0
    """Duration of a TLS handshake, or of the PROXY header before it; then the connection is closed."""
    head_timeout: float = 10.0
    """From a request's first byte to the end of its head (slowloris): 408."""
    body_timeout: float = 60.0
    """Time without a byte of a request body (then 408), or without the client reading a byte of the response (then
    closed)."""
    keep_alive_timeout: float = 75.0
    """Idle time of a client connection, before the first request and between requests."""
    linger_timeout: float = 5.0
    """Time without a byte from a refused client, whose remaining bytes are discarded so that it receives the
    response."""
    linger_total: float = 30.0
    """Total time that a refused client's bytes are read and discarded. (Both are nginx's defaults.)"""
    half_close: float = 0.25
    """Time without a byte of the response after which a half-closed client counts as gone. 0: at once."""
    replay: int = 65_536
    """Bytes of a request body that are kept for retries; a request with a longer body is not retried."""
    pool_idle: int = 256
    """Idle connections kept for one instance."""
    pool_timeout: float = 60.0
    """Time that an idle upstream connection is kept."""
    strip: tuple[str, ...] = ()
    """Names of request fields that are not forwarded, in addition to those of `fields.asserted`; "*" at the end: a
    prefix."""
    pool_age: float = 600.0
    """Age of an upstream connection from which it is closed after its exchange."""
    write_buffer: int = 131_072
    """Unsent bytes of one connection above which its source is paused."""
