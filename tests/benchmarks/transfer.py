"""10 MiB bodies over some connections: `python -m tests.benchmarks.transfer download|upload --port … --path …`.

A thread per connection. Downloads are thrown away inside the kernel, uploads are sent from a file by sendfile(2), so
that this end costs as little as it can. Prints one JSON object: transfers, seconds, errors.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import BinaryIO

from tests.benchmarks.contenders import LARGE
from tests.benchmarks.sink import content_length, discard, read_head, scratch


@dataclass
class Totals:
    """What the threads did."""

    ends: list[float] = field(default_factory=list)
    errors: int = 0


def request_head(direction: str, path: str, token: str) -> bytes:
    """GET for a download, POST of 10 MiB for an upload."""
    method, body = ("POST", f"Content-Length: {LARGE}\r\n") if direction == "upload" else ("GET", "")
    line = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    return f"{line}{body}Authorization: Bearer {token}\r\n\r\n".encode()


def transfer(connection: socket.socket, head: bytes, body: BinaryIO | None, room: bytearray) -> bool:
    """One request and its answer; whether it was what was asked for."""
    connection.sendall(head)
    if body is not None:
        body.seek(0)
        connection.sendfile(body, 0, LARGE)
    answer, came = read_head(connection)
    size = content_length(answer)
    discard(connection, size - came, room)
    return b" 200 " in answer[:16] and (body is not None or size == LARGE)


def work(options: argparse.Namespace, head: bytes, until: float, totals: Totals) -> None:
    """One connection's requests, until it is time."""
    room = scratch()
    with (
        socket.create_connection(("127.0.0.1", options.port), timeout=20) as connection,
        tempfile.TemporaryFile() as file,
    ):
        file.write(b"y" * LARGE)
        body = file if options.direction == "upload" else None
        while monotonic() < until:
            try:
                good = transfer(connection, head, body, room)
            except OSError:
                totals.errors += 1
                return
            totals.ends.append(monotonic())
            totals.errors += not good


def main() -> int:
    """Run the threads and print what they did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direction", choices=("download", "upload"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--tokens", required=True, help="file whose first line is sent")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with open(options.tokens) as file:
        head = request_head(options.direction, options.path, file.readline().strip())
    totals, began = Totals(), monotonic()
    work_of = (options, head, began + options.seconds, totals)
    threads = [threading.Thread(target=work, args=work_of) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = max(totals.ends, default=began) - began
    result = {"transfers": len(totals.ends), "seconds": took, "errors": totals.errors}
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
