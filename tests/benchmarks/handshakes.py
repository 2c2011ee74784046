"""New connections, one for each request: `python -m tests.benchmarks.handshakes full --port=… --seconds=…`.

Each thread connects, asks once, reads the answer and closes, over and over. "full" makes a full TLS handshake each
time, "resumed" resumes the session of the connection before. What counts is the CPU of the proxy, so that these have to
keep it supplied and no more.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from time import monotonic

THREADS = 8
TIMEOUT = 5.0
REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/plain, */*\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n"
)


@dataclass
class Count:
    """What one thread saw."""

    requests: int = 0
    errors: int = 0
    resumed: int = 0


class Client:
    """Asks on a new connection each time."""

    def __init__(self, port: int, path: str, *, resume: bool) -> None:
        self._address = ("127.0.0.1", port)
        self._request = REQUEST % path.encode()
        self._resume = resume
        self._session: ssl.SSLSession | None = None
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.set_alpn_protocols(["http/1.1"])
        self.count = Count()

    def run(self, end: float) -> None:
        """Ask until `end`, in monotonic seconds."""
        while monotonic() < end:
            try:
                self._ask()
            except OSError:
                self.count.errors += 1

    def _ask(self) -> None:
        with socket.create_connection(self._address, TIMEOUT) as plain:
            # As browsers, curl and Go do. Else the request waits for the acknowledgement of the handshake's end.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self._context.wrap_socket(plain, server_hostname="localhost", session=self._session)
            self._converse(secured)

    def _converse(self, secured: ssl.SSLSocket) -> None:
        with secured:
            secured.sendall(self._request)
            if not _answered(secured):
                self.count.errors += 1
                return
            self.count.requests += 1
            self.count.resumed += bool(secured.session_reused)
            if self._resume:
                self._session = secured.session


def _answered(secured: ssl.SSLSocket) -> bool:
    """Read one answer with a Content-Length; whether it is a 200."""
    got = b""
    while b"\r\n\r\n" not in got:
        if not (piece := secured.recv(65_536)):
            return False
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
    while left > 0:
        if not (piece := secured.recv(65_536)):
            return False
        left -= len(piece)
    return b" 200 " in head[:16]


def main() -> None:
    """Load, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.handshakes", description=__doc__)
    parser.add_argument("kind", choices=["full", "resumed"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/open")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    clients = [
        Client(options.port, options.path, resume=options.kind == "resumed") for _ in range(options.threads)
    ]
    end = monotonic() + options.seconds
    threads = [threading.Thread(target=client.run, args=(end,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [client.count for client in clients]
    found = {
        name: sum(getattr(count, name) for count in counts) for name in ("requests", "errors", "resumed")
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
