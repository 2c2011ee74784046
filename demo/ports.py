"""Ports for the processes that the demo, the tests and the benchmarks start."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

# Below the range for outgoing connections, one of which could otherwise take a port between its choice and its use.
_FIRST, _END, _BLOCK = 15_000, 32_000, 100


class NoPortLeft(Exception):
    """Every port between 15000 and 31999 is in use, or reserved by other processes."""


def free_port() -> int:
    """An unbound port of 127.0.0.1, which this function returns to no other process on this machine.

    Test runs are concurrent, and a port is often bound long after its choice. So a process takes ports only from
    blocks that it owns. It owns a block while it has bound the block's first port: the system gives that port to one
    process only, and frees it when the process ends.
    """
    with _lock:
        port = next(_ports)
    if port is None:
        raise NoPortLeft("no port is free between 15000 and 31999")
    return port


def _choose() -> Iterator[int | None]:
    """Each port of a block once, then those of the next block, in a cycle. None: no port is free."""
    firsts = range(_FIRST, _END, _BLOCK)
    owned: list[int] = []
    # Starts at a different block each time, because a client of the previous run may still connect to its ports.
    for first in random.sample(firsts, len(firsts)):
        if claim := _bind(first):
            # Open until the process ends, even if this generator is closed.
            claim.detach()
            owned.append(first)
            yield from _unbound(first)
    while True:
        again = None
        for first in owned:
            for again in _unbound(first):
                yield again
        if again is None:
            yield None


def _unbound(first: int) -> Iterator[int]:
    for port in range(first + 1, first + _BLOCK):
        if probe := _bind(port):
            probe.close()
            yield port


def _bind(port: int) -> socket.socket | None:
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        return None
    return probe


_lock = threading.Lock()
_ports = _choose()
