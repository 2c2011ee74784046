"""What can never work ends the process with one line and exit code 2."""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path

import pytest

from demo.processes import ControlPlane, Process
from demo.processes import start as start_process
from tests.integration.controlplane.conftest import Start
from tests.support.etcd import Etcd


def the_line(process: Process) -> str:
    """The only line that a process wrote before it ended with code 2."""
    assert process.popen.wait(15) == 2
    (line,) = process.log.read_text().splitlines()
    assert line.startswith("headgate-controlplane: ")
    return line


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY: is not set"),
        ({"SECRET_KEY": "", "DATAPLANE_TOKEN": ""}, "; DATAPLANE_TOKEN: is not set"),
        ({"ADMIN_PASSWORD": ""}, "ADMIN_PASSWORD: is not set, but the store holds no user yet"),
        ({"GRPC_CERT": "/nowhere.pem", "GRPC_KEY": "/nowhere.key"}, "GRPC_CERT: cannot read /nowhere.pem"),
        ({"ETCD_CA": "/nowhere.pem"}, "ETCD_CA: cannot read /nowhere.pem: No such file or directory"),
        ({"ADMIN_LISTEN": "192.0.2.1:80", "ADMIN_PLAINTEXT": "true"}, "cannot listen on 192.0.2.1:80"),
        ({"GRPC_LISTEN": "nowhere.invalid:1"}, "GRPC_LISTEN: cannot listen on nowhere.invalid:1"),
    ],
)
def test_settings(plane: ControlPlane, start: Start, settings: dict[str, str], detail: str) -> None:
    process = start(dataclasses.replace(plane, settings=settings), wait=False)
    assert detail in the_line(process)


@pytest.mark.parametrize("which", ["ADMIN_LISTEN", "GRPC_LISTEN"])
def test_a_port_in_use(plane: ControlPlane, start: Start, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start(dataclasses.replace(plane, settings={which: address}), wait=False)
        expected = f"headgate-controlplane: {which}: cannot listen on {address}: Address already in use"
        assert the_line(process) == expected


def test_two_on_the_same_ports(plane: ControlPlane, start: Start) -> None:
    first = start(plane)
    second = start(dataclasses.replace(plane, name="second"), wait=False)
    assert "ADMIN_LISTEN" in the_line(second)
    assert first.running


def test_another_secret_key(plane: ControlPlane, start: Start) -> None:
    start(plane).stop()
    other = dataclasses.replace(plane, name="other", settings={"SECRET_KEY": "x" * 32})
    assert "SECRET_KEY is not the one" in the_line(start(other, wait=False))


def test_another_secret_key_that_is_found_out_late(plane: ControlPlane, start: Start, own_etcd: Etcd) -> None:
    start(plane).stop()
    own_etcd.kill()
    other = dataclasses.replace(plane, name="other", settings={"SECRET_KEY": "x" * 32})
    process = start(other, wait=False)
    own_etcd.start()
    assert process.popen.wait(15) == 2
    assert "headgate-controlplane: SECRET_KEY is not the one" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def test_a_password_that_etcd_refuses(plane: ControlPlane, start: Start, own_etcd: Etcd) -> None:
    own_etcd.require_password("headgate", "etcd-pass", "/headgate/v1/")
    settings = {"ETCD_USERNAME": "headgate", "ETCD_PASSWORD": "another pass"}
    line = the_line(start(dataclasses.replace(plane, settings=settings), wait=False))
    assert "etcd rejects ETCD_USERNAME and ETCD_PASSWORD" in line
    assert "another pass" not in line


def test_under_uvicorns_own_command(plane: ControlPlane, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "uvicorn", "controlplane.app:app", "--port", str(plane.admin_port)]
    process = start_process("uvicorn", argv, {**plane.environment(), "SECRET_KEY": ""}, tmp_path)
    assert process.popen.wait(15) != 0
    told = process.log.read_text()
    assert "headgate-controlplane: SECRET_KEY: is not set" in told
    assert "Traceback" not in told
