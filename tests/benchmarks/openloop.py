"""Open-loop load at a given rate: `python -m tests.benchmarks.openloop --port … --path … --rate … --seconds …`.

Requests are due at times fixed beforehand, whether or not earlier ones were answered, and latency counts from when a
request was due: a proxy that stalls is charged for every request that would have been sent meanwhile, which a closed
loop leaves out ("coordinated omission"). One thread on epoll, timers to the microsecond, no parsing but of framing.
Prints one JSON object; with --timeline also writes when each answered request was
due (on the monotonic clock), its latency, and its status: three rows of doubles of equal length.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import ctypes
import gc
import json
import random
import select
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

from tests.benchmarks.sink import HEAD_END, content_length

FIELDS = (
    "Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCache-Control: no-cache\r\nOrigin: https://shop.example\r\n"
    "Referer: https://shop.example/orders\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
    "X-Requested-With: XMLHttpRequest\r\n"
)
_PR_SET_TIMERSLACK = 29
GRACE = 20.0
"""Seconds after the last request was due in which answers are waited for."""


def gaps(rate: float, arrivals: str, seed: int = 1) -> Iterator[float]:
    """Seconds from one request to the next: equal, or of a Poisson process (the same one in every run)."""
    if arrivals == "steady":
        while True:
            yield 1 / rate
    chance = random.Random(seed)
    while True:
        yield chance.expovariate(rate)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(rank, 1) - 1]


class Connection:
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("due", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.received = b""

    def answer(self) -> bytes | None:
        """The head of the answer once all of it is there. ConnectionError when the connection ends."""
        try:
            piece = self.socket.recv(262_144)
        except BlockingIOError:
            return None
        if not piece:
            raise ConnectionError("closed")
        data = self.received = self.received + piece if self.received else piece
        end = data.find(HEAD_END)
        if end < 0 or len(data) < end + len(HEAD_END) + content_length(data[:end]):
            return None
        self.received = b""
        return data[:end]


class Load:
    """The run: what is due, who is free, what came back."""

    def __init__(self, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._port = port
        self._requests = requests
        self._poll = select.epoll()
        self._busy: dict[int, Connection] = {}
        self._free: list[Connection] = []
        for _ in range(connections):
            self._open()
        self._waiting: deque[float] = deque()
        self._end = 0.0
        self._full = 0.0
        """The last request that found no connection free was due then: that it was late is not our doing."""
        self.sent = 0
        self.broken = 0
        """Requests that were never answered."""
        self.late: list[float] = []
        """Seconds from when a request was due until it was sent, where a connection was free."""
        self.dues = array.array("d")
        self.latencies = array.array("d")
        self.codes = array.array("d")

    def run(self, seconds: float, between: Iterator[float]) -> None:
        """Send for that long, then wait for the answers that are missing."""
        due = monotonic() + 0.05
        self._end = due + seconds
        while True:
            now = monotonic()
            while due <= now and due < self._end:
                self._waiting.append(due)
                due += next(between)
            self._send()
            done = not self._busy and not self._waiting
            if due >= self._end and (done or now > self._end + GRACE):
                break
            pause = min(max(due - monotonic(), 0.0), 0.1) if due < self._end else 0.1
            # epoll's own time-out has milliseconds only.
            select.select((self._poll,), (), (), pause)
            for descriptor, _ in self._poll.poll(0):
                if descriptor in self._busy:
                    self._receive(self._busy[descriptor])
        self.broken += len(self._busy)
        self._close()

    @property
    def unsent(self) -> int:
        """Requests for which no connection came free in time: the proxy cannot keep up with the rate."""
        return len(self._waiting)

    def stop(self) -> None:
        """Let nothing be due any more."""
        self._end = min(self._end, monotonic())

    def _send(self) -> None:
        while self._waiting and self._free:
            connection = self._free.pop()
            connection.due = self._waiting.popleft()
            request = self._requests[self.sent % len(self._requests)]
            self.sent += 1
            self._busy[connection.socket.fileno()] = connection
            try:
                connection.socket.send(request)
            except OSError:
                self._fail(connection)
                continue
            if connection.due > self._full:
                self.late.append(monotonic() - connection.due)

        if self._waiting:
            self._full = self._waiting[-1]

    def _receive(self, connection: Connection) -> None:
        try:
            head = connection.answer()
        except OSError:
            self._fail(connection)
            return
        if head is None:
            return
        self.dues.append(connection.due)
        self.latencies.append(monotonic() - connection.due)
        self.codes.append(float(head[9:12]))
        del self._busy[connection.socket.fileno()]
        if b"\r\nconnection: close" in head.lower():
            connection.socket.close()
            self._open()
        else:
            self._free.append(connection)

    def _fail(self, connection: Connection) -> None:
        self.broken += 1
        del self._busy[connection.socket.fileno()]
        connection.socket.close()
        with contextlib.suppress(OSError):
            self._open()

    def _close(self) -> None:
        for connection in (*self._free, *self._busy.values()):
            connection.socket.close()
        self._poll.close()

    def _open(self) -> None:
        connection = Connection(self._port)
        # An idle connection stays silent; one that the proxy closes fails at its next request.
        self._poll.register(connection.socket, select.EPOLLIN | select.EPOLLET)
        self._free.append(connection)


def summary(load: Load, cpu_share: float) -> dict[str, object]:
    """The run in figures; milliseconds."""
    ordered, late = sorted(load.latencies), sorted(load.late)
    tails = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    return {
        "sent": load.sent,
        "answered": len(ordered),
        "broken": load.broken,
        "unsent": load.unsent,
        "statuses": {str(int(code)): count for code, count in Counter(load.codes).items()},
        **{name: round(1000 * percentile(ordered, share), 4) for name, share in tails.items() if ordered},
        "late_p99_ms": round(1000 * percentile(late, 0.99), 4) if late else 0.0,
        "generator_cpu": round(cpu_share, 3),
    }


def requests(path: str, paths: int, tokens: Sequence[str]) -> list[bytes]:
    """Requests to be sent in turn: each token at least once, each path at least once."""
    found = []
    for number in range(max(len(tokens), paths)):
        target = f"{path}/{number % paths}" if paths else path
        token = tokens[number % len(tokens)]
        fields = f"Host: localhost\r\n{FIELDS}Authorization: Bearer {token}\r\n"
        found.append(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
    return found


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--paths", type=int, default=0)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--arrivals", choices=("poisson", "steady"), default="poisson")
    parser.add_argument("--timeline", type=Path)
    options = parser.parse_args()
    # Without this the kernel may wake us 50 µs late.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
    prepared = requests(options.path, options.paths, options.tokens.read_text().split())
    load = Load(options.port, prepared, options.connections)
    gc.disable()
    signal.signal(signal.SIGTERM, lambda number, frame: load.stop())
    began, spent = monotonic(), time.process_time()
    load.run(options.seconds, gaps(options.rate, options.arrivals))
    share = (time.process_time() - spent) / (monotonic() - began)
    if options.timeline:
        with options.timeline.open("wb") as file:
            load.dues.tofile(file)
            load.latencies.tofile(file)
            load.codes.tofile(file)
    sys.stdout.write(json.dumps(summary(load, share)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
