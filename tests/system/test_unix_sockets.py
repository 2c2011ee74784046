"""A service on a Unix socket, registered by the command line, behind a real gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, start
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

PATIENCE = 60.0
SERVER = """
import http.server, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"shop")
    def address_string(self):
        return "unix"

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

Server(sys.argv[1], Handler).serve_forever()
"""
ROUTE = {"routes": [{"name": "shop", "prefix": "/shop", "service_name": "shop", "public": True}]}


class Gateway:
    """etcd, a control plane and a data plane, both of which allow sockets in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps = folder / "apps"
        self.apps.mkdir()
        self.etcd = Etcd()
        allowed = {"UNIX_SOCKETS": str(self.apps)}
        anonymous = {"ANONYMOUS_READ": "true"}
        self.controlplane = ControlPlane(self.etcd.url, Secrets(), settings=allowed | anonymous)
        self.dataplane = DataPlane(self.controlplane.grpc, self.controlplane.secrets, settings=allowed)

    def register(self, name: str, socket: Path) -> Process:
        """`headgate register` with a server on a Unix socket."""
        command = ["register", "shop", "--host", f"unix:{socket}", "--id", name, "--"]
        return start(
            name,
            [sys.executable, "-m", "headgate.cli", *command, sys.executable, "-c", SERVER, str(socket)],
            {
                "HEADGATE_CONTROLPLANE": self.controlplane.grpc,
                "HEADGATE_TOKEN": self.controlplane.secrets.service_token,
            },
            self.folder,
        )

    async def instances(self) -> dict[str, Any]:
        """The instances of the service, by id, as the admin API shows them."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            found = (await client.get(f"{self.controlplane.url}/api/v1/services")).raise_for_status().json()
        return next((one["instances"] for one in found if one["service_name"] == "shop"), {})

    async def get(self) -> httpx.Response:
        """A request to the service."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return await client.get(f"{self.dataplane.url}/shop/")

    async def apply(self, document: object) -> None:
        """As the administrator."""

        def send() -> None:
            with self.controlplane.admin() as admin:
                admin.post("/api/v1/apply", json=document, params={"wait": "30"}).raise_for_status()

        await asyncio.to_thread(send)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    made = Gateway(tmp_path)
    async with AsyncExitStack() as stack:
        for plane in (made.etcd, made.controlplane, made.dataplane):
            stack.callback((await asyncio.to_thread(plane.start, tmp_path)).kill)
        yield made


async def test_a_service_on_a_socket(gateway: Gateway) -> None:
    socket = gateway.apps / "shop.sock"
    local = gateway.register("local", socket)
    try:

        async def healthy() -> bool:
            return bool((await gateway.instances()).get("local", {}).get("status") == "healthy")

        await eventually(healthy, within=PATIENCE)
        shown = (await gateway.instances())["local"]
        assert (shown["host"], shown["port"]) == (f"unix:{socket}", None)
        await gateway.apply(ROUTE)
        for _ in range(3):
            assert (await gateway.get()).text == "shop"
        # Elsewhere a service registers nothing, and the log says why.
        refused = gateway.register("astray", gateway.folder / "astray.sock")
        try:
            await eventually(lambda: "UNIX_SOCKETS of the control planes" in refused.tail(), within=PATIENCE)
        finally:
            await asyncio.to_thread(refused.stop)
        assert set(await gateway.instances()) == {"local"}
        # An administrator may name any, and the data plane connects to none of them.
        document = {
            "services": [
                {
                    "service_name": "shop",
                    "check_interval": 0.5,
                    "instances": [{"instance_id": "forbidden", "host": "unix:/run/docker.sock"}],
                }
            ]
        }
        await gateway.apply(document)

        async def found_unhealthy() -> bool:
            return "UNIX_SOCKETS of the data plane" in (await gateway.instances())["forbidden"]["reason"]

        await eventually(found_unhealthy, within=PATIENCE)
        assert (await gateway.get()).text == "shop"
        await asyncio.to_thread(socket.unlink)

        async def gone() -> bool:
            return "there is no such socket" in (await gateway.instances())["local"]["reason"]

        await eventually(gone, within=PATIENCE)
    finally:
        await asyncio.to_thread(local.stop)
