"""Load at a fixed rate: python3 load.py HOST PORT PATH RATE CONNECTIONS PER. Once a second it prints the counts so far.

Requests become due at the rate, whatever the gateway does: one that finds no idle connection waits for one, and its
time counts from when it was due. Every connection is replaced after PER requests, so that new pods get some.

A request has failed if its answer is not 200, if its connection broke, or if it took too long. A connection that
cannot be opened counts as a failed request, too. Nothing is tried again.

Sockets and epoll without asyncio: the load must leave the processors to the gateway.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

PATIENCE = 10.0
"""Seconds after which a connection that is not open, or a request without an answer, has failed."""
PAUSE = 0.1
"""Seconds between a connection that could not be opened and the next try."""
IDLE, CONNECTING, WAITING = "idle", "connect", "request"

Clock = Callable[[], float]


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, and the request on it."""

    socket: socket.socket
    since: float
    """When it began to connect, or when the request was sent."""
    due: float = 0.0
    """When the request was due."""
    phase: str = CONNECTING
    requests: int = 0
    received: bytes = b""


class Load:
    """Connections that share the rate."""

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        rate: float,
        connections: int,
        per_connection: int = 200,
        clock: Clock = time.monotonic,
    ) -> None:
        self._address = address
        self._request = f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode()
        self._rate = rate
        self._per_connection = per_connection
        self._clock = clock
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._missing = [0.0] * connections
        """When the connections that are not open may be opened: a heap."""
        self._began = clock()
        self._sent = 0
        self.pods: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0

    def run(self, until: Callable[[], bool]) -> None:
        """Load until the function returns True; it is asked about every millisecond."""
        patience_ends = self._clock() + 1
        while not until():
            now = self._clock()
            self._connect(now)
            self._send(now)
            for descriptor, event in self._epoll.poll(self._pause(now)):
                self._ready(self._open[descriptor], event)
            if now > patience_ends:
                patience_ends = now + 1
                self._give_up(now - PATIENCE)

    def run_for(self, seconds: float) -> None:
        ends = self._clock() + seconds
        self.run(lambda: self._clock() >= ends)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._open.values():
            connection.socket.close()
        self._epoll.close()

    def counts(self) -> dict[str, object]:
        """All since the beginning; `seconds` tells when that was."""
        return {
            "answered": self.pods,
            "failed": self.errors,
            "slowest": round(self.slowest, 3),
            "seconds": round(self._clock() - self._began, 3),
        }

    def _pause(self, now: float) -> float:
        """Seconds until the next request is due; less than a hundredth, so that `until` and retries are on time."""
        due = self._began + self._sent / self._rate
        return min(0.01, max(0.0, due - now)) if self._idle else 0.01

    def _connect(self, now: float) -> None:
        while self._missing and self._missing[0] <= now:
            heapq.heappop(self._missing)
            opened = socket.socket()
            opened.setblocking(False)
            code = opened.connect_ex(self._address)
            connection = Connection(opened, now)
            if code not in (0, errno.EINPROGRESS):
                self._failed(connection, code)
                continue
            self._open[opened.fileno()] = connection
            self._epoll.register(opened, select.EPOLLOUT)

    def _send(self, now: float) -> None:
        """Send what is due, as long as connections are idle."""
        while self._idle and (due := self._began + self._sent / self._rate) <= now:
            connection = self._idle.popleft()
            self._sent += 1
            connection.phase, connection.since, connection.due = WAITING, now, due
            connection.requests += 1
            try:
                connection.socket.send(self._request)
            except OSError as error:
                self._failed(connection, error.errno)

    def _ready(self, connection: Connection, event: int) -> None:
        if connection.phase == CONNECTING:
            self._connected(connection)
            return
        try:
            received = connection.socket.recv(65536)
        except OSError as error:
            self._lost(connection, error.errno)
            return
        if received:
            connection.received += received
            self._parse(connection)
        else:
            self._lost(connection, "closed")

    def _connected(self, connection: Connection) -> None:
        if code := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._failed(connection, code)
            return
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._epoll.modify(connection.socket, select.EPOLLIN)
        connection.phase = IDLE
        self._idle.append(connection)

    def _parse(self, connection: Connection) -> None:
        head, separator, body = connection.received.partition(b"\r\n\r\n")
        text = head.decode("latin-1").lower()
        if not separator or len(body) < length(text):
            return
        self.slowest = max(self.slowest, self._clock() - connection.due)
        if text.split(" ", 2)[1] == "200":
            self.pods[body.decode()] += 1
        else:
            self.errors[f"{text.splitlines()[0]} {body[:200].decode('latin-1')}"] += 1
        connection.received, connection.phase = b"", IDLE
        if connection.requests == self._per_connection or "connection: close" in text:
            self._close(connection)
        else:
            self._idle.append(connection)

    def _give_up(self, before: float) -> None:
        for connection in [*self._open.values()]:
            if connection.phase != IDLE and connection.since < before:
                self._failed(connection, "no answer")

    def _lost(self, connection: Connection, why: int | str | None) -> None:
        """The other side has ended the connection: that of an idle one fails nothing."""
        if connection.phase == IDLE:
            self._close(connection)
        else:
            self._failed(connection, why)

    def _failed(self, connection: Connection, why: int | str | None) -> None:
        """Count it, by phase and reason."""
        reason = os.strerror(why) if isinstance(why, int) else why
        self.errors[f"{connection.phase}: {reason}"] += 1
        self._close(connection, PAUSE if connection.phase == CONNECTING else 0.0)

    def _close(self, connection: Connection, pause: float = 0.0) -> None:
        """Another connection takes its place."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._open.pop(connection.socket.fileno(), None)
        connection.socket.close()
        heapq.heappush(self._missing, self._clock() + pause)


def length(head: str) -> int:
    """The length of the body."""
    return next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))


def main(host: str, port: int, path: str, rate: float, connections: int, per: int) -> None:
    # One look-up: what is measured is the gateway, not the cluster's DNS.
    load = Load((socket.gethostbyname(host), port), path, rate, connections, per)
    while True:
        load.run_for(1)
        sys.stdout.write(json.dumps(load.counts()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
