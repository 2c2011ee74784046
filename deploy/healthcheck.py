"""The images' health check: exit code 0 when the plane of this container answers 200 at /health, or at another path.

`healthcheck.py STATUS_LISTEN` for a data plane, `healthcheck.py ADMIN_LISTEN /ready` for a control plane: the name of
the setting with the address, and the path. /health is like the liveness probe of the chart; /ready checks more, but may
fail for good reasons. It runs every few seconds: it speaks HTTP itself, because `http.client` takes longer to import
than everything else here.
"""

from __future__ import annotations

import os
import socket
import sys

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound
TIMEOUT = 3.0
"""Seconds for each step."""


def main() -> int:
    """Send one request. What goes wrong is one line, which container engines keep."""
    try:
        status = _status(sys.argv[1], *sys.argv[2:])
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{status}\n")
    return 0 if status == "200" else 1


def _status(setting: str, path: str = "/health") -> str:
    host, _, port = os.environ[setting].rpartition(":")
    place = EVERYWHERE.get(host, host).strip("[]")
    with socket.create_connection((place, int(port)), TIMEOUT) as plain:
        connection = _secured(plain) if setting == "ADMIN_LISTEN" and os.environ.get("ADMIN_CERT") else plain
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        line = connection.makefile("rb").readline(64).split()
    return line[1].decode("ascii", "replace") if len(line) > 1 else "no answer"


def _secured(plain: socket.socket) -> socket.socket:
    import ssl

    # Within the container the host differs from the names in the certificate.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    return unverified.wrap_socket(plain)


if __name__ == "__main__":
    sys.exit(main())
