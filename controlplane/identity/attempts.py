"""Slows down the guessing of passwords: after a few failures a name has to wait at that address, longer each time.

Failures count by name and address together, so a client that guesses a user's password does not make that user wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

Who = tuple[str, str]
"""A user's name, and where it is asked for (see `place`)."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Attempts:
    """Counts failures by name and address. Time is handed in: monotonic seconds.

    After `free` failures each further one makes the pair wait 1, 2, 4 … up to `longest` seconds. Failures are
    forgotten after `memory` seconds without one, and the oldest are when there are more than `most` pairs.
    """

    def __init__(
        self, *, free: int = 5, longest: float = 30.0, memory: float = 600.0, most: int = 10_000
    ) -> None:
        self._free = free
        self._longest = longest
        self._memory = memory
        self._most = most
        self._failures: dict[Who, _Failures] = {}

    def wait(self, who: Who, now: float) -> float:
        """Seconds that this pair must wait; 0 lets it try. Counts nothing."""
        failures = self._failures.get(who)
        return max(0.0, failures.until - now) if failures is not None else 0.0

    def begin(self, who: Who, now: float) -> float:
        """Seconds that this pair must wait; 0 lets it try.

        An attempt counts as failed until `succeeded` is told, so that attempts side by side gain nothing.
        """
        failures = self._failures.pop(who, None)
        if failures is None or now - failures.last > self._memory:
            failures = _Failures()
        if (wait := failures.until - now) <= 0:
            failures.count += 1
            failures.last = now
            failures.until = now + self._delay(failures.count)
        self._failures[who] = failures
        if len(self._failures) > self._most:
            del self._failures[next(iter(self._failures))]
        return max(0.0, wait)

    def succeeded(self, who: Who) -> None:
        """Forget the failures of a pair."""
        self._failures.pop(who, None)

    def _delay(self, count: int) -> float:
        return min(self._longest, 2.0 ** min(count - self._free, 30)) if count >= self._free else 0.0


def place(address: str) -> str:
    """The key for one address: an IPv6 host can call from a whole /64 (RFC 6177)."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((int(found), 64), strict=False))
    return str(found)
