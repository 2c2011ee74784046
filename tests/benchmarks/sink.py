"""A service that swallows request bodies as cheaply as Linux can: `python -m tests.benchmarks.sink <port>`.

A thread per connection. Body bytes are thrown away inside the kernel (MSG_TRUNC, tcp(7)), never copied to us.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD_END = b"\r\n\r\n"
_CHUNK = 1024 * 1024


def discard(connection: socket.socket, size: int, scratch: bytearray) -> None:
    """Throw away `size` bytes that arrive; ConnectionError when they end before."""
    while size > 0:
        got = connection.recv_into(scratch, min(size, len(scratch)), socket.MSG_TRUNC)
        if not got:
            raise ConnectionError("the body ended early")
        size -= got


def read_head(connection: socket.socket) -> tuple[bytes, int]:
    """A message's head, and how many bytes of its body came with it; ConnectionError when there is none."""
    data = b""
    while HEAD_END not in data:
        piece = connection.recv(65536)
        if not piece or len(data) > 65536:
            raise ConnectionError("no head")
        data += piece
    head, _, rest = data.partition(HEAD_END)
    return head, len(rest)


def content_length(head: bytes) -> int:
    """The length of the body; 0 without a Content-Length. ConnectionError for a chunked one."""
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            raise ConnectionError("chunked bodies are not understood")
    return 0


def scratch() -> bytearray:
    """Room that `discard` pretends to read into."""
    return bytearray(_CHUNK)


def _serve(connection: socket.socket) -> None:
    room = scratch()
    with connection, contextlib.suppress(OSError):
        while True:
            head, came = read_head(connection)
            discard(connection, content_length(head) - came, room)
            connection.sendall(ANSWER)


def main() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
