"""Bounds of the HTTP engine, with their defaults: what one client or upstream can cost us at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds. Times are kept to within one tick (`Server.TICK`)."""

    head: int = 65_536
    """A request's or response's head, or a trailer section; a longer request head gets 431, a response's 502."""
    framing: int = 16_384
    """What chunked framing (extensions, trailers) may add to eight times the data it carries."""
    head_timeout: float = 10.0
    """From a request's first byte to the end of its head (slowloris): 408."""
    body_timeout: float = 60.0
    """Without a byte of a request body: 408."""
    keep_alive_timeout: float = 75.0
    """A client connection between requests, also before the first."""
    linger_timeout: float = 2.0
    """How long a refused client's remaining bytes are read and thrown away, so that it gets to see the answer."""
    pool_idle: int = 256
    """Idle connections kept for one instance."""
    pool_timeout: float = 60.0
    """How long an idle upstream connection is kept."""
    write_buffer: int = 131_072
    """Unsent bytes of one connection above which its source is paused."""
