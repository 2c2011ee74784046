"""Bounds of the HTTP engine, with their defaults: the most that one client or instance can cost a worker.

Each can be set (`dataplane.settings`); docs/http.md has the table with what happens when one is passed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds, all for one worker. Times are kept to within one tick (`deadlines.TICK`)."""

    head: int = 65_536
    """A request's or response's head, or a trailer section; a longer request head gets 431, a response's 502."""
    fields: int = 128
    """Fields in one request head: 431. Trailers of one response: its body is cut off."""
    target: int = 8_192
    """A request target: 414."""
    framing: int = 16_384
    """What chunked framing (extensions, trailers) may have beyond eight bytes for each byte of data it carries."""
    connections: int = 20_000
    """Client connections at once, from accept on: further ones get 503 and are closed, those of TLS without a word."""
    connections_per_address: int = 2_000
    """The same for one peer address, of IPv6 for a /64; trusted proxies are not counted. 0 lifts it."""
    requests: int = 100_000
    """Requests on one connection; the response to the last says that it closes."""
    handshake_timeout: float = 10.0
    """A TLS handshake, or the PROXY header before anything else: closed."""
    head_timeout: float = 10.0
    """From a request's first byte to the end of its head (slowloris): 408."""
    body_timeout: float = 60.0
    """Without a byte of a request body: 408. Without a byte taken of a whole response: cut off."""
    keep_alive_timeout: float = 75.0
    """A client connection between requests, also before the first."""
    linger_timeout: float = 5.0
    """Seconds without a byte from a refused client, whose remaining bytes are discarded so that it receives the
    response."""
    linger_total: float = 30.0
    """The same in all. (Both are what nginx takes.)"""
    half_close: float = 0.25
    """Without a byte of an answer for a client that has ended its side: it counts as gone. 0: at once."""
    replay: int = 65_536
    """A request body that is kept so that it can be sent again; a request with a longer one is not."""
    pool_idle: int = 256
    """Idle connections kept for one instance."""
    pool_timeout: float = 60.0
    """How long an idle upstream connection is kept."""
    strip: tuple[str, ...] = ()
    """Names of request fields that are not forwarded, beside those of `http1.asserted`; "*" at the end: a prefix."""
    pool_age: float = 600.0
    """How long an upstream connection is used: then it closes after its exchange."""
    write_buffer: int = 131_072
    """Unsent bytes of one connection above which its source is paused."""
