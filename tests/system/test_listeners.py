"""Listeners, certificates and weights of a whole gateway change under load: no request fails, and no WebSocket is
dropped."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from websockets.http11 import Request, Response
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from demo.ports import free_port
from tests.support.certificates import Authority
from tests.support.waiting import eventually_now
from tests.system.test_certificates import Gateway, Traffic, gateway

__all__ = ["gateway"]


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def healthy(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.OK, "") if request.path == "/health" else None


@contextmanager
def chat() -> Iterator[int]:
    """A service that echoes; its port."""
    with serve(echo, "127.0.0.1", 0, process_request=healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


class Canary(BaseHTTPRequestHandler):
    """Answers like the demo's service, under another name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"instance": "canary"}'
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def canary() -> Iterator[int]:
    """The new version of a service; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Canary) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def weighted(old: int, new: int) -> dict[str, Any]:
    """The route of the traffic, shared out."""
    shares = [{"service_name": "orders", "weight": old}, {"service_name": "canary", "weight": new}]
    return {"name": "orders", "prefix": "/orders", "services": shares, "public": True}


WEIGHTS: list[tuple[int, int, set[str]]] = [
    (100, 0, {"orders-1"}),
    (50, 50, {"orders-1", "canary"}),
    (0, 100, {"canary"}),
    (100, 0, {"orders-1"}),
]


def certificate(files: tuple[Path, Path]) -> dict[str, Any]:
    chain, key = (file.read_text() for file in files)
    return {"name": "shop", "certificate": chain, "private_key": key}


def apply(admin: httpx.Client, **document: Any) -> None:
    """Until every data plane serves it."""
    answer = admin.post("/api/v1/apply", json=document, params={"wait": 30}, timeout=60)
    assert answer.status_code == 200, answer.text


def accepts(url: str, trusted: ssl.SSLContext) -> bool:
    """Whether a WebSocket opens."""
    with connect(url, ssl=trusted):
        return True


class SecureTraffic(Traffic):
    """The same over TLS, with a connection for each request."""

    def __init__(self, gateway: Gateway, port: int, trusted: ssl.SSLContext) -> None:
        super().__init__(gateway)
        self._url, self._trusted = f"https://localhost:{port}/orders/1", trusted

    def get(self) -> httpx.Response:
        return httpx.get(self._url, timeout=10, trust_env=False, verify=self._trusted)


def test_certificates_listeners_and_weights_change_under_load(gateway: Gateway, tmp_path: Path) -> None:
    authority, port = Authority(tmp_path / "public"), free_port()
    trusted = authority.trusted()
    web = {"name": "web", "port": port, "protocol": "https", "certificates": ["shop"]}
    with chat() as upstream, canary() as new, gateway.controlplane.admin() as admin:
        instances = [{"instance_id": "one", "host": "127.0.0.1", "port": upstream}]
        apply(
            admin,
            services=[
                {"service_name": "chat", "instances": instances},
                {
                    "service_name": "canary",
                    "instances": [{"instance_id": "one", "host": "127.0.0.1", "port": new}],
                },
            ],
            routes=[
                {
                    "name": "chat",
                    "prefix": "/chat",
                    "service_name": "chat",
                    "public": True,
                    "upgrades": ["websocket"],
                },
                # A probe has passed before the canary gets its share.
                {"name": "canary", "prefix": "/canary", "service_name": "canary", "public": True},
            ],
            certificates=[certificate(authority.issue("first"))],
            listeners=[web],
        )
        secured = SecureTraffic(gateway, port, trusted)
        eventually_now(lambda: secured.get().status_code == 200)
        probe = f"{gateway.dataplane.url}/canary"
        eventually_now(lambda: httpx.get(probe, timeout=10, trust_env=False).status_code == 200)
        url = f"wss://localhost:{port}/chat"
        eventually_now(lambda: accepts(url, trusted))
        with connect(url, ssl=trusted) as client, Traffic(gateway) as plain, secured:
            for number, (old, share, sides) in enumerate(WEIGHTS):
                moving = {"name": "moving", "port": free_port()}
                renewed = certificate(authority.issue(f"renewed-{number}"))
                apply(admin, certificates=[renewed], listeners=[moving], routes=[weighted(old, share)])
                assert {gateway.get().json()["instance"] for _ in range(12)} == sides
                client.send(str(number))
                assert client.recv(timeout=20) == str(number)
                admin.delete("/api/v1/config/listeners/moving").raise_for_status()
        assert plain.sent and secured.sent
        assert (plain.failures, secured.failures) == ([], [])

        refused = admin.delete("/api/v1/config/certificates/shop")
        assert refused.status_code == 400 and "is needed by listener 'web'" in refused.text
        shown = admin.get("/api/v1/config/certificates/shop").json()
        assert shown.keys() == {"name", "certificate", "not_after", "files", "description", "labels"}
        history = admin.get("/api/v1/history").text
    assert "PRIVATE" not in history
    for process in gateway.processes.values():
        assert "PRIVATE KEY" not in "\n".join(process.lines())
