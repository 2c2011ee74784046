"""The service of orders.yml: answers every GET, and logs it. Runs in a container, with the standard library alone."""

from __future__ import annotations

import http.server
import sys


class Orders(http.server.BaseHTTPRequestHandler):
    """Answers with its name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"service": "orders"}\n'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Orders).serve_forever()
