"""The traffic port of TLS, as processes: certificates from files, renewed under open connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography import x509

from demo.ports import free_port
from headgate_api.v1.resources_pb2 import UpstreamTls
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import TOKEN, FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _orders(controlplane: FakeControlPlane, orders: Instance) -> None:
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.route("orders", "orders"),
            revision=5,
        )
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def put(authority: Authority, folder: Path, name: str) -> None:
    """A pair for localhost with this common name, in the one place of the folder, the key first."""
    folder.mkdir(exist_ok=True)
    cert, key = authority.issue(name)
    for made, place in ((key, folder / "tls.key"), (cert, folder / "tls.crt")):
        (folder / ".new").write_bytes(made.read_bytes())
        (folder / ".new").rename(place)


async def shown(port: int, authority: Authority) -> str:
    """Common name of the certificate that is shown now."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    (name,) = x509.load_der_x509_certificate(der).subject
    return str(name.value)


async def test_certificates_are_renewed_under_open_connections(
    tmp_path: Path, controlplane: FakeControlPlane, authority: Authority
) -> None:
    port, certs = free_port(), tmp_path / "certs"
    put(authority, certs, "first")
    settings = {"TLS_LISTEN": f"127.0.0.1:{port}", "TLS_CERTS": str(certs), "WORKERS": "2"}
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    async with (
        DataPlane(tmp_path, controlplane.address, **settings) as node,
        httpx.AsyncClient(verify=trusting, trust_env=False) as client,
    ):
        await node.started()
        url = f"https://localhost:{port}/orders"
        answer = await client.get(url)
        assert (answer.status_code, answer.text) == (200, "orders-1")
        assert (await node.get("/orders")).status_code == 200
        put(authority, certs, "second")
        node.send(signal.SIGHUP)
        await eventually(lambda: _shows(port, authority, "second"))
        assert (await client.get(url)).status_code == 200
        # Without being told, too.
        put(authority, certs, "third")
        await eventually(lambda: _shows(port, authority, "third"), within=30)
        # What is wrong stays without effect, also on workers that are started meanwhile.
        (certs / "tls.key").write_text("half of a")
        node.send(signal.SIGHUP)
        await eventually(lambda: "new certificates are invalid" in "\n".join(node.output()))
        before = [worker.pid for worker in psutil.Process(node.pid).children()]
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        await eventually(lambda: _renewed(node.pid, before), within=30)
        await node.ready()
        assert await shown(port, authority) == "third"
        assert (await client.get(url)).status_code == 200
        assert await node.stop() == 0
        assert "PRIVATE" not in "\n".join(node.output())


async def _shows(port: int, authority: Authority, name: str) -> bool:
    """Several times over: each worker has to."""
    return [await shown(port, authority) for _ in range(8)] == [name] * 8


def _renewed(pid: int, before: list[int]) -> bool:
    now = [worker.pid for worker in psutil.Process(pid).children()]
    return len(now) == len(before) and not set(now) & set(before)


@pytest.mark.parametrize("wrong", ["missing", "mismatched", "alone", "taken"])
def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path, authority: Authority, wrong: str) -> None:
    cert, key = authority.issue("one")
    _, other = authority.issue("other")
    port = free_port()
    certs, said = {
        "missing": (f"/nowhere.pem:{key}", "TLS_CERTS: cannot read /nowhere.pem: No such file or directory"),
        "mismatched": (
            f"{cert}:{other}",
            f"TLS_CERTS: {other} is not the unencrypted private key of {cert}",
        ),
        "alone": ("", "TLS_LISTEN and TLS_CERTS must be set together"),
        "taken": (
            f"{cert}:{key}",
            f"cannot listen on 127.0.0.1:{port} (TLS_LISTEN): Address already in use",
        ),
    }[wrong]
    variables = {
        **os.environ,
        "DATAPLANE_TOKEN": TOKEN,
        "LISTEN": f"127.0.0.1:{free_port()}",
        "TLS_LISTEN": f"127.0.0.1:{port}",
        "TLS_CERTS": certs,
    }
    command = [sys.executable, "-m", "dataplane"]
    with socket.create_server(("127.0.0.1", port if wrong == "taken" else 0)):
        ended = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=20
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"headgate-dataplane: {said}\n"


async def test_instances_are_probed_and_asked_over_tls(
    tmp_path: Path, controlplane: FakeControlPlane, authority: Authority
) -> None:
    """mTLS, the whole chain: settings, wire, probes, requests."""
    cert, key = authority.issue("gateway")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(*authority.issue("payments", hosts=["payments.internal"]))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    tls = UpstreamTls(server_name="payments.internal", ca=authority.certificate.read_text())
    controlplane.publish(
        wire.snapshot(
            wire.service("payments", 6, tls=tls),
            wire.instance("payments", "payments-1", port),
            wire.route("payments", "payments"),
            revision=6,
        )
    )
    settings = {"UPSTREAM_CERT": str(cert), "UPSTREAM_KEY": str(key)}
    async with DataPlane(tmp_path, controlplane.address, **settings) as node:
        await node.started()
        answered = await node.get("/payments")
        assert (answered.status_code, answered.text) == (200, "secure")
    listening.close()
    await listening.wait_closed()
