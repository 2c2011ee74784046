"""State that all connections of one worker share."""

from __future__ import annotations

import asyncio
import os
from binascii import hexlify
from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import Final

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.compression import Compression
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.exchange import Decider
from dataplane.proxy.fields.trace import Parents
from dataplane.proxy.http1.head_cache import HeadCache
from dataplane.proxy.http1.request_writer import RequestWriter
from dataplane.proxy.http1.response import Response
from dataplane.proxy.messages import Request
from dataplane.proxy.trust import TrustedProxies
from dataplane.proxy.writer import Turn

_GOLDEN: Final = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio, odd: steps of it, modulo 2**64, spread as evenly as any (a Weyl sequence)."""
_MASK: Final = 2**64 - 1


def at_end_of_turn(callback: Callable[[], None]) -> None:
    """Call this at the end of the current turn of the event loop."""
    asyncio.get_running_loop().call_soon(callback)


class Shared:
    """Settings, caches and request ids; belongs to one event loop."""

    def __init__(
        self,
        decider: Decider,
        bounds: Bounds | None = None,
        trusted: TrustedProxies | None = None,
        soon: Callable[[Callable[[], None]], None] = at_end_of_turn,
        *,
        trace_sampling: float = 1.0,
        send_via: bool = True,
        parents: Parents | None = None,
    ) -> None:
        """`trace_sampling` is the share of traces begun here that are recorded, 0 to 1; `send_via` is whether
        forwarded requests tell of the gateway in Via; `parents` says how much a traceparent's flag counts.
        """
        self.decider = decider
        self.bounds = bounds or Bounds()
        self.trusted = trusted or TrustedProxies()
        self.parents = parents or Parents()
        self.turn = Turn(soon)
        self.compression = Compression(soon)
        self.request_writer = RequestWriter(trace_sampling, send_via)
        self.request_cache: HeadCache[Request] = HeadCache()
        """Parsed requests of untrusted clients, by the bytes after their targets."""
        self.response_cache: HeadCache[Response] = HeadCache()
        """Parsed responses, by their heads."""
        self.entrance = Entrance()
        """That of the ports of the settings."""
        self.draining = False
        """Every connection closes after its current response."""
        self.date = b""
        """The Date field of this second (`names.begin` tells the form)."""
        self._second = 0
        self._ids = os.urandom(8).hex().encode()
        self._last_id = int.from_bytes(os.urandom(8))

    def request_id(self) -> bytes:
        """32 hex digits, unique: a random half for this worker, and one that takes every value once, evenly spread.

        A trace with this id is therefore sampled like one with a random id.
        """
        self._last_id = count = (self._last_id + _GOLDEN) & _MASK
        return self._ids + hexlify(count.to_bytes(8))

    def second_passed(self) -> bool:
        """Bring the Date field up to date; whether a new second has begun since the last call."""
        second = int(time())
        if second == self._second:
            return False
        self._second = second
        self.date = f"\r\ndate: {formatdate(usegmt=True)}".encode()
        return True
