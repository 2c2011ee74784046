"""The admin API over TLS of its own: a process, its certificates renewed, and the gateway's way to it."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.processes import ControlPlane, DataPlane, Process, Secrets, answers, wait_until
from tests.integration.controlplane.conftest import Start, log_in
from tests.support.certificates import Authority
from tests.support.waiting import eventually_now


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def encrypted(plane: ControlPlane, authority: Authority) -> ControlPlane:
    """The control plane with certificates."""
    cert, key = authority.issue("server")
    settings = {"ADMIN_CERT": str(cert), "ADMIN_KEY": str(key), "ADMIN_CA": str(authority.certificate)}
    return dataclasses.replace(plane, settings=settings)


@pytest.fixture
def secure(encrypted: ControlPlane, authority: Authority) -> Iterator[httpx.Client]:
    """Asks it over HTTPS, by an address and so without SNI."""
    url = f"https://127.0.0.1:{encrypted.admin_port}"
    with httpx.Client(base_url=url, verify=authority.trusted(), timeout=10, trust_env=False) as client:
        yield client


def begin(start: Start, plane: ControlPlane, client: httpx.Client) -> Process:
    process = start(plane, wait=False)
    wait_until(lambda: client.get("/ready").status_code == 200, process)
    return process


def serial(plane: ControlPlane, authority: Authority, name: str) -> str:
    """The serial number of the certificate that a new connection gets."""
    with (
        socket.create_connection(("127.0.0.1", plane.admin_port), timeout=10) as connection,
        authority.trusted().wrap_socket(connection, server_hostname=name) as encrypted,
    ):
        found = encrypted.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_https_alone_and_renewed_certificates(
    encrypted: ControlPlane, start: Start, secure: httpx.Client, authority: Authority
) -> None:
    process = begin(start, encrypted, secure)
    log_in(secure, encrypted)
    assert secure.get("/api/v1/services").status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{encrypted.admin_port}/health", trust_env=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger = Authority(Path(encrypted.settings["ADMIN_CERT"]).parent / "stranger")
        serial(encrypted, stranger, "127.0.0.1")

    first = serial(encrypted, authority, "localhost")
    assert serial(encrypted, authority, "127.0.0.1") == first
    authority.issue("server")
    for name in ("127.0.0.1", "localhost"):
        assert serial(encrypted, authority, name) != first
    second = serial(encrypted, authority, "localhost")
    _, other = authority.issue("other")
    shutil.copy(other, encrypted.settings["ADMIN_KEY"])
    assert serial(encrypted, authority, "localhost") == second
    told = "renewed certificates are invalid; the old ones stay in use"
    eventually_now(lambda: told in process.log.read_text())
    assert secure.get("/api/v1/services").status_code == 200


def test_the_gateway_leads_to_it(
    encrypted: ControlPlane, start: Start, secure: httpx.Client, tmp_path: Path
) -> None:
    begin(start, encrypted, secure)
    dataplane = DataPlane(encrypted.grpc, encrypted.secrets, settings={"REGISTER_ALLOW": "127.0.0.0/8"})
    process = dataplane.start(tmp_path / "run")
    try:
        wait_until(answers(f"{dataplane.status_url}/ready"), process)
        with httpx.Client(base_url=dataplane.url, timeout=10, trust_env=False) as gateway:
            keys = "/api/v1/.well-known/jwks.json"
            eventually_now(lambda: gateway.get(keys).status_code == 200)
            assert gateway.get(keys).json() == secure.get(keys).json()
            log_in(gateway, encrypted)
            assert gateway.get("/api/v1/services").status_code == 200
    finally:
        process.stop()


def test_in_the_clear_for_others_it_does_not_start(tmp_path: Path) -> None:
    plane = ControlPlane("http://127.0.0.1:1", Secrets())
    environment = {**plane.environment(), "ADMIN_LISTEN": f"0.0.0.0:{plane.admin_port}"}
    argv = [sys.executable, "-m", "controlplane"]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"headgate-controlplane: ADMIN_LISTEN: on 0.0.0.0:{plane.admin_port}, ")
