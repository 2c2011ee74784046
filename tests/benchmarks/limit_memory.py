"""Memory of a worker's limits: a million live keys of one limit, and what becomes of it when ever more come.

    python -m tests.benchmarks.limit_memory [address|hidden]

"live" means that every bucket lacks tokens, half of them all of theirs: none may be dropped without letting somebody
through too early. Figures are of this process's resident memory, against the same process without keys.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from time import perf_counter

import psutil

from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit

KEYS = 1_000_000
MIB = 1024 * 1024


def _resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / MIB


def measure(what: str, keys: int = KEYS) -> dict[str, float]:
    """MiB with `keys` live keys, and after as many new ones; microseconds for each."""
    limiter = Limiter(max_keys=keys, secret=b"s")
    counter = limiter.counter(Limit("l", 1e-6, 2, ("address",)))
    key_of: Callable[[int], str] = (
        (lambda number: str(IPv4Address(0x0A000000 + number)))
        if what == "address"
        else (lambda number: limiter.hidden(f"sk_live_{number}"))
    )
    before = _resident()
    started = perf_counter()
    for number in range(keys):
        key = key_of(number)
        counter.take(key, 0.0)
        if number % 2:
            # All of its tokens are gone, and it has been refused once.
            counter.take(key, 0.0)
            counter.take(key, 0.0)
    filled = perf_counter() - started
    live = _resident() - before
    longest, started = 0.0, perf_counter()
    for number in range(keys, 2 * keys):
        key, at = key_of(number), perf_counter()
        counter.take(key, 1.0)
        longest = max(longest, perf_counter() - at)
    flooded = perf_counter() - started
    return {
        "live_mib": live,
        "flooded_mib": _resident() - before,
        "us_a_key": filled / keys * 1e6,
        "us_a_key_flooded": flooded / keys * 1e6,
        "longest_us": longest * 1e6,
    }


def main() -> None:
    """Print the figures."""
    what = sys.argv[1] if len(sys.argv) > 1 else "address"
    for name, figure in measure(what).items():
        sys.stdout.write(f"{name:>18} {figure:10.1f}\n")


if __name__ == "__main__":
    main()
