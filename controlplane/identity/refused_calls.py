"""gRPC calls that are refused because of their credential: all are counted, and one per caller and minute is logged."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

logger = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two log lines about one address."""
MOST_CALLERS = 256
"""Callers that are distinguished, and so the most lines in EVERY seconds. Calls of further callers are only counted."""


@dataclass(slots=True)
class _Caller:
    logged: float
    """When, by the clock."""
    unlogged: int = 0
    """Calls refused since."""


class RefusedCalls:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """By service ("config", "registry", "peers") and gRPC status, in lower case."""
        self._clock = clock
        self._callers: dict[tuple[str, str], _Caller] = {}

    def record(self, service: str, code: str, detail: str, peer: str) -> None:
        """One refused call. `peer` is the caller as gRPC names it; `detail` is the answer that it got."""
        self.counts[service, code] += 1
        now, key = self._clock(), (service, _address(peer))
        caller = self._callers.get(key)
        if caller is None and not self._has_room(now):
            return
        if caller is not None and now - caller.logged < EVERY:
            caller.unlogged += 1
            return
        about = {"service": service, "address": key[1], "code": code, "reason": detail}
        calls = 1 + (caller.unlogged if caller else 0)
        logger.warning("a call was refused because of its credential", extra={**about, "calls": calls})
        self._callers[key] = _Caller(now)

    def _has_room(self, now: float) -> bool:
        if len(self._callers) >= MOST_CALLERS:
            self._callers = {
                key: caller for key, caller in self._callers.items() if now - caller.logged < EVERY
            }
        return len(self._callers) < MOST_CALLERS


def _address(peer: str) -> str:
    """The address in `ipv4:10.0.0.1:52344` or `ipv6:%5B::1%5D:52344`; anything else as it is."""
    scheme, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if scheme in ("ipv4", "ipv6") else peer
